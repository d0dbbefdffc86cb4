// The schema of a kind's payload as a list of fields: path, type, what it is.

import { h } from '../dom.js';
import { nodes } from '../text.js';

const FIELDS_MAX = 400;

function typeOf(schema) {
  const types = [schema.type ?? []].flat();
  const all = types.map((type) => (type === 'array' && schema.items?.type ? `array of ${[schema.items.type].flat().join(' or ')}` : type));
  if (schema.enum) all.push(`one of ${schema.enum.map((value) => JSON.stringify(value)).join(', ')}`);
  return all.join(' or ') || 'any';
}

function* fields(schema, path, root, depth) {
  if (depth > 20 || !schema || typeof schema !== 'object') return;
  const resolved = schema.$ref?.startsWith('#/') ? schema.$ref.slice(2).split('/').reduce((at, key) => at?.[key], root) : schema;
  if (!resolved) return;
  for (const [name, member] of Object.entries(resolved.properties ?? {})) {
    const at = `${path}${path ? '.' : ''}${name}`;
    yield { at, type: typeOf(member), needed: resolved.required?.includes(name), text: member.description ?? '' };
    yield* fields(member, at, root, depth + 1);
  }
  if (resolved.items) yield* fields(resolved.items, `${path}[]`, root, depth + 1);
}

/** The table of a schema. */
export function schemaTable(schema) {
  const rows = [];
  for (const field of fields(schema, '', schema, 0)) {
    if (rows.length >= FIELDS_MAX) break;
    const indent = Math.min(6, field.at.split('.').length - 1);
    rows.push(h('tr', { role: 'row' },
      h('th', { scope: 'row', role: 'rowheader', 'data-label': 'Field', class: `deep-${indent}` }, h('code', {}, nodes(field.at))),
      h('td', { role: 'cell', 'data-label': 'Type' }, h('div', {}, field.type, field.needed ? h('span', { class: 'tag', title: 'Always there' }, 'required') : null)),
      h('td', { role: 'cell', 'data-label': 'What it is' }, h('div', {}, nodes(field.text)))));
  }
  return h('table', { role: 'table', class: 'list schema' },
    h('caption', { class: 'quiet' }, 'Fields of the payload'),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, ['Field', 'Type', 'What it is'].map((head) => h('th', { scope: 'col', role: 'columnheader' }, head)))),
    h('tbody', { role: 'rowgroup' }, rows));
}
