// Where the time of an attempt went.

import { h, s } from '../dom.js';
import { millis } from '../format.js';

const STAGES = [
  ['render', 'rendering'], ['dns', 'name'], ['connect', 'TCP'], ['tls', 'TLS'], ['first_byte', 'waiting for the answer'],
];
const WIDTH = 1000;

/** A bar with a piece for each stage that took time, and the same in words. */
export function timing(invocation) {
  const times = invocation.timings_ms ?? {};
  const total = times.total ?? invocation.duration_ms ?? 0;
  const stages = STAGES.map(([key, name]) => ({ key, name, ms: times[key] })).filter((stage) => typeof stage.ms === 'number');
  const rest = total - stages.reduce((sum, stage) => sum + stage.ms, 0);
  if (rest > 0) stages.push({ key: 'rest', name: invocation.response ? 'the rest' : 'until it failed', ms: rest });
  let at = 0;
  const pieces = stages.map((stage) => {
    const width = total > 0 ? (stage.ms / total) * WIDTH : 0;
    const piece = s('rect', { class: `stage ${stage.key}`, x: at.toFixed(1), y: 0, width: Math.max(0, width - 2).toFixed(1), height: 14 });
    at += width;
    return piece;
  });
  const words = stages.map((stage) => `${stage.name} ${millis(stage.ms)}`).join(', ');
  return h('div', { class: 'timing' },
    s('svg', { class: 'timing-bar', viewBox: `0 0 ${WIDTH} 14`, preserveAspectRatio: 'none', role: 'img', 'aria-label': `${millis(total)} in all: ${words}` }, pieces),
    h('ul', { class: 'legend' },
      stages.map((stage) => h('li', {}, h('span', { class: `key ${stage.key}`, 'aria-hidden': true }), `${stage.name} `, h('b', {}, millis(stage.ms)))),
      h('li', {}, 'in all ', h('b', {}, millis(total))),
      typeof times.queued === 'number' ? h('li', { class: 'muted' }, `waited before it ${millis(times.queued)}`) : null,
      invocation.reused_connection ? h('li', { class: 'muted' }, 'on a connection that was open') : null));
}
