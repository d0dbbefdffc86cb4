// Numbers, sizes and times as people read them.

import { h } from './dom.js';

const counts = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });

/** 12,345 */
export function count(number) {
  return counts.format(number ?? 0);
}

/** `1 event`, `2 events`. */
export function many(number, one, several = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : several}`;
}

/** 0.4 ms, 12 ms, 1.25 s; a dash where nothing was measured. */
export function millis(ms) {
  if (ms === null || ms === undefined) return '–';
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(2)} s` : span(ms / 1000);
}

/** 512 B, 1.2 KiB, 3.4 MiB */
export function bytes(size) {
  if (size < 1024) return `${size} B`;
  return size < 1024 * 1024 ? `${(size / 1024).toFixed(1)} KiB` : `${(size / 1024 / 1024).toFixed(1)} MiB`;
}

/** So many seconds: 8 s, 5 min, 3 h 10 min, 2 d 4 h. */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  const [big, small, units] = whole < 86_400 ? [3600, 60, ['h', 'min']] : [86_400, 3600, ['d', 'h']];
  const rest = Math.floor((whole % big) / small);
  return `${Math.floor(whole / big)} ${units[0]}${rest ? ` ${rest} ${units[1]}` : ''}`;
}

/** 2026-11-28 03:24:10.123 UTC, and the same in the reader's zone. */
export function exactly(time) {
  const utc = String(time).replace('T', ' ').replace(/(\.\d{3})\d*/, '$1').replace('Z', ' UTC');
  return `${utc} (${new Date(time).toLocaleString()} here)`;
}

/** The time of day here. */
export function timeOfDay(time) {
  return clock.format(new Date(time));
}

function distance(time, isDue) {
  const seconds = (Date.now() - Date.parse(time)) / 1000;
  if (isDue && seconds > 0) return 'now';
  if (Math.abs(seconds) < 1.5) return 'now';
  return seconds > 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
}

/** How long ago, or in how long; kept up to date by `age`. */
export function when(time, absent = '–') {
  if (!time) return h('span', { class: 'none' }, absent);
  return h('time', { datetime: time, title: exactly(time), 'data-ages': 'past' }, distance(time, false));
}

/** In how long something is due; once that is over, it is due now. */
export function due(time) {
  return h('time', { datetime: time, title: exactly(time), 'data-ages': 'due' }, distance(time, true));
}

/** Brings all times on the page up to date. */
export function age() {
  for (const element of document.querySelectorAll('time[data-ages]')) {
    const text = distance(element.dateTime, element.dataset.ages === 'due');
    if (element.textContent !== text) element.textContent = text;
  }
}
