// Texts that came from outside. They may hold marks that turn the direction of what stands around them, or that nobody sees:
// each text is a piece of its own, and such marks are shown by their numbers.

import { h } from './dom.js';

// Controls but line feed, carriage return and tab; directions; what has no width; private tags. Joiners stay: scripts and
// emoji need them.
const UNSEEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;
const NAMES = {
  '\u061c': 'Arabic letter mark', '\u200e': 'left-to-right mark', '\u200f': 'right-to-left mark',
  '\u202a': 'left-to-right embedding', '\u202b': 'right-to-left embedding', '\u202c': 'end of embedding',
  '\u202d': 'left-to-right override', '\u202e': 'right-to-left override', '\u2066': 'left-to-right isolate',
  '\u2067': 'right-to-left isolate', '\u2068': 'first strong isolate', '\u2069': 'end of isolate',
};
// So many marks get an element of their own; a text that is made of nothing else has the rest in plain brackets.
const MARKS_MAX = 200;

const number = (mark) => `U+${mark.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}`;

/** A text with every unseen mark in brackets. */
export function visible(text) {
  return String(text).replace(UNSEEN, (mark) => `[${number(mark)}]`);
}

/** The nodes of a text, each unseen mark as an element. */
export function nodes(text) {
  const all = String(text);
  const made = [];
  let behind = 0;
  for (const found of all.matchAll(UNSEEN)) {
    if (made.length >= 2 * MARKS_MAX) break;
    if (found.index > behind) made.push(all.slice(behind, found.index));
    const title = `A mark that is not seen: ${NAMES[found[0]] ?? number(found[0])}`;
    made.push(h('span', { class: 'unseen', title }, number(found[0])));
    behind = found.index + found[0].length;
  }
  if (behind < all.length) made.push(visible(all.slice(behind)));
  return made;
}

/** A text from outside within a line. */
export function bdi(text, attributes = {}) {
  return h('bdi', { dir: 'auto', ...attributes }, nodes(text));
}

/** The same, cut after so many characters; the whole is its title. */
export function short(text, most, attributes = {}) {
  const all = String(text);
  return all.length <= most ? bdi(all, attributes) : bdi(`${all.slice(0, most)}…`, { title: visible(all.slice(0, 2000)), ...attributes });
}
