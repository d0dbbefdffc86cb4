// States as a shape, a colour and a word: none of them is told by its colour alone.

import { h, s } from '../dom.js';
import { visible } from '../text.js';

const SHAPES = {
  active: ['good', 'M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11z'],
  inactive: ['hollow', 'M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11zm0 1.8a3.7 3.7 0 1 0 0 7.4 3.7 3.7 0 0 0 0-7.4z'],
  shadow: ['hollow', 'M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11zm0 1.8a3.7 3.7 0 1 0 0 7.4 3.7 3.7 0 0 0 0-7.4zm0 1.9a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6z'],
  paused: ['warn', 'M3 2.5h3.6v11H3zM9.4 2.5H13v11H9.4z'],
  failing: ['bad', 'M8 1.5 15 14H1zM7.2 6v4h1.6V6zm0 5v1.6h1.6V11z'],
  faulty: ['bad', 'M8 1 15 8l-7 7-7-7zM7.2 4.5v4.5h1.6V4.5zm0 5.5v1.6h1.6V10z'],
  removed: ['hollow', 'M3.5 2 8 6.5 12.5 2 14 3.5 9.5 8l4.5 4.5-1.5 1.5L8 9.5 3.5 14 2 12.5 6.5 8 2 3.5z'],
};
const WORDS = {
  active: 'active', inactive: 'inactive', shadow: 'shadow: rendered, never sent', paused: 'paused', failing: 'failing',
  faulty: 'its file is faulty', removed: 'removed',
};

/** The shape of a webhook's state. */
export function dot(state) {
  const [tone, path] = SHAPES[state] ?? SHAPES.inactive;
  return s('svg', { class: `dot ${tone}`, viewBox: '0 0 16 16', width: 14, height: 14, 'aria-hidden': true },
    s('path', { d: path, 'fill-rule': 'evenodd' }));
}

/** Whether somebody should look at a webhook. */
export function isWrong(row) {
  return ['paused', 'failing', 'faulty', 'removed'].includes(row.state) || row.dead_letters > 0;
}

/** A webhook's state in words: `paused: auth_error`. */
export function stateWords(row) {
  const cause = row.state === 'paused' ? row.paused?.cause : row.state === 'failing' ? row.stats?.last_failure?.reason : null;
  return `${WORDS[row.state] ?? row.state}${cause ? `: ${visible(cause)}` : ''}`;
}

const TONES = { accepted: 'good', delivered: 'good', failed: 'bad', dead: 'bad', pending: 'warn', unwanted: 'hollow', unknown: 'hollow' };
const MARKS = {
  good: 'M2.5 8.5 6.3 12.3 13.5 4',
  bad: 'M3.5 3.5l9 9M12.5 3.5l-9 9',
  warn: 'M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11zM8 5v3.3l2.2 1.5',
  hollow: 'M3 8h10',
};

/** A tick, a cross, a clock or a dash. */
export function mark(word) {
  const tone = TONES[word] ?? 'hollow';
  return s('svg', { class: `tick ${tone}`, viewBox: '0 0 16 16', width: 14, height: 14, 'aria-hidden': true },
    s('path', { d: MARKS[tone] }));
}

/** What an attempt came to, as a badge: `accepted`, `failed: timeout`. */
export function outcome(invocation) {
  const words = invocation.reason ? `${invocation.outcome}: ${invocation.reason}` : invocation.outcome;
  return h('span', { class: `badge ${TONES[invocation.outcome] ?? 'hollow'}` }, mark(invocation.outcome), visible(words));
}

/** Any word of a list of states, as a badge. */
export function badge(word, shown = word) {
  return h('span', { class: `badge ${TONES[word] ?? 'hollow'}` }, mark(word), visible(shown));
}
