// The last 60 minutes: delivered goes up, failed goes down, so that no colour is needed to tell them apart.

import { h, s } from '../dom.js';
import { count } from '../format.js';

const BARS = 60;
const STEP = 4;
const UP = 24;
const DOWN = 12;
/** What is there at all is seen. */
const LEAST = 2;

/** The numbers as they are now: minutes have gone by since they were told. */
function shifted(minutes, numbers) {
  const gone = Math.max(0, Math.min(BARS, Math.ceil((Date.now() - Date.parse(minutes.until)) / 60_000)));
  return [...numbers.slice(gone), ...Array(gone).fill(0)].slice(-BARS);
}

function bars(numbers, most, room, from, direction) {
  return numbers
    .map((number, at) => {
      if (!number) return '';
      const height = Math.max(LEAST, Math.round((number / most) * room * 2) / 2);
      return `M${at * STEP} ${from}h3v${direction * height}h-3z`;
    })
    .join('');
}

/** A picture of a webhook's minutes, with its sums in words. */
export function chart(stats) {
  const accepted = shifted(stats.minutes, stats.minutes.accepted);
  const failed = shifted(stats.minutes, stats.minutes.failed);
  const sum = (numbers) => numbers.reduce((all, number) => all + number, 0);
  const [good, bad] = [sum(accepted), sum(failed)];
  const most = Math.max(1, ...accepted, ...failed);
  const peak = Math.max(...accepted, ...failed);
  const words = good + bad === 0
    ? 'No attempts in the last 60 minutes'
    : `Last 60 minutes: ${count(good)} delivered, ${count(bad)} failed, ${count(peak)} in the busiest minute`;
  const width = BARS * STEP - 1;
  const drawing = s('svg', { class: 'chart', viewBox: `0 0 ${width} ${UP + DOWN + 1}`, role: 'img', 'aria-label': words, preserveAspectRatio: 'none' },
    s('title', {}, words),
    s('path', { class: 'base', d: `M0 ${UP}h${width}v1h-${width}z` }),
    s('path', { class: 'up', d: bars(accepted, most, UP, UP, -1) }),
    s('path', { class: 'down', d: bars(failed, most, DOWN, UP + 1, 1) }));
  return h('div', { class: 'chart-box' }, drawing,
    h('p', { class: 'chart-sum', 'aria-hidden': true },
      good + bad === 0
        ? h('span', { class: 'none' }, 'no attempts')
        : [`${count(good)} delivered`, bad ? [' · ', h('span', { class: 'bad-text strong' }, `${count(bad)} failed`)] : null]));
}
