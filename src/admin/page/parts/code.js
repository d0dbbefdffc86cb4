// Blocks of text from outside: laid out, coloured, and bounded until somebody asks for all of it.

import { h, fill } from '../dom.js';
import { bytes, count } from '../format.js';
import { nodes, visible } from '../text.js';

/** What of a text is shown before all of it is asked for. */
const SHOWN_CHARS = 12_000;
/** Texts up to here are laid out as JSON; larger ones are shown as they came. */
const LAID_OUT_CHARS = 2_000_000;
/** Texts up to here are coloured. */
const COLOURED_CHARS = 60_000;

const TOKENS = {
  json: /(?<key>"(?:[^"\\]|\\.)*")(?=\s*:)|(?<text>"(?:[^"\\]|\\.)*")|(?<number>-?\d[\d.eE+-]*)|(?<word>\btrue\b|\bfalse\b|\bnull\b)/g,
  toml: /(?<note>(?<=^|\s)#[^\n]*)|(?<head>^\s*\[\[?[^\]\n]+\]\]?)|(?<key>^\s*[\w.-]+(?=\s*=))|(?<text>'''[^]*?'''|"""[^]*?"""|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')|(?<word>\btrue\b|\bfalse\b)|(?<number>(?<=[\s=[,])-?\d[\d._]*)/gm,
  template: /(?<tag>\{\{\{?[^}]*\}?\}\})/g,
};

/**
 * JSON with line breaks and indentation, every value as it was written; null where it is no object or array. Nothing is
 * made a number on the way: 1.0 stays 1.0.
 */
function laidOut(text) {
  const start = text.trimStart()[0];
  if ((start !== '{' && start !== '[') || text.length > LAID_OUT_CHARS) return null;
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  const out = [];
  let depth = 0;
  const line = () => `\n${'  '.repeat(depth)}`;
  const pieces = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  for (let at = 0; at < pieces.length; at += 1) {
    const piece = pieces[at];
    if (piece === '{' || piece === '[') {
      const closes = pieces[at + 1] === '}' || pieces[at + 1] === ']';
      if (closes) {
        out.push(piece, pieces[at + 1]);
        at += 1;
      } else {
        depth += 1;
        out.push(piece, line());
      }
    } else if (piece === '}' || piece === ']') {
      depth -= 1;
      out.push(line(), piece);
    } else if (piece === ',') {
      out.push(piece, line());
    } else {
      out.push(piece === ':' ? ': ' : piece);
    }
  }
  return out.join('');
}

function coloured(text, language) {
  const tokens = TOKENS[language];
  if (!tokens || text.length > COLOURED_CHARS) return nodes(text);
  const made = [];
  let behind = 0;
  for (const found of text.matchAll(tokens)) {
    const [kind] = Object.entries(found.groups).find(([, value]) => value !== undefined);
    if (found.index > behind) made.push(...nodes(text.slice(behind, found.index)));
    made.push(h('span', { class: `t-${kind}` }, nodes(found[0])));
    behind = found.index + found[0].length;
  }
  return [...made, ...nodes(text.slice(behind))];
}

/** The longest beginning that ends with a line, if lines are short enough. */
function beginning(text) {
  const end = text.lastIndexOf('\n', SHOWN_CHARS);
  return text.slice(0, end > SHOWN_CHARS / 2 ? end : SHOWN_CHARS);
}

/** A block. `language` is json, toml, template or none; `label` tells those who cannot see what it is. */
export function block(text, label, language = 'json') {
  const json = language === 'json' ? laidOut(text) : null;
  const whole = json ?? text;
  // What is no JSON has no colours of JSON either: looking for the ends of its texts could take long.
  const colours = language === 'json' && json === null ? 'none' : language;
  const code = h('pre', { class: 'code', tabindex: 0, role: 'region', 'aria-label': label, dir: 'ltr' });
  if (whole.length <= SHOWN_CHARS) {
    code.append(...coloured(whole, colours));
    return code;
  }
  code.append(...coloured(beginning(whole), colours), '…');
  const all = h('button', { type: 'button' }, `Show all (${bytes(new Blob([text]).size)})`);
  const rest = h('p', { class: 'more' }, `The first ${count(SHOWN_CHARS)} of ${count(whole.length)} characters. `, all);
  all.addEventListener('click', () => {
    fill(code, whole.length > COLOURED_CHARS ? visible(whole) : coloured(whole, colours));
    code.focus();
    rest.remove();
  });
  return h('div', {}, code, rest);
}

/** A block that is folded away, and made of `value()` when it is opened first. */
export function folded(look, title, value) {
  const details = h('details', { class: look }, h('summary', {}, title));
  details.addEventListener('toggle', () => details.append(block(JSON.stringify(value(), null, 2), title)), { once: true });
  return details;
}
