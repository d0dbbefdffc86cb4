// The first screen: every webhook, what it did in the last hour, and what is wrong.

import { arrange, empty, fill, h, say } from '../dom.js';
import { age, count, due, many, millis, span, when } from '../format.js';
import { chart } from '../parts/chart.js';
import { dot, isWrong, stateWords } from '../parts/status.js';
import { to } from '../route.js';
import { known, watch } from '../store.js';
import { bdi, short, visible } from '../text.js';

/** Rows that are there without being asked for. */
const ROWS_MAX = 200;
const HEADS = ['Webhook', 'State', 'Target', 'Last 60 minutes', 'p99', 'Pending', 'Dead letters', 'Last success'];
const REDRAW_MS = 20_000;

function triggers(row) {
  if (!row.kind) return null;
  const types = row.triggers ?? [];
  const told = row.triggers === null ? 'every type' : types.length <= 2 ? types.join(', ') : `${types[0]} and ${types.length - 1} more`;
  return h('p', { class: 'detail', title: visible(types.join(', ')) }, visible(`${row.kind} · ${told}`));
}

/** Why it waits or fails, and when that may end. */
export function whatIsWrong(row) {
  const at = row.paused;
  if (row.state === 'paused' && at) {
    const last = at.last;
    return [
      h('p', { class: 'detail' }, 'since ', when(at.since), at.next_probe ? [', next probe ', due(at.next_probe)] : ', until it is resumed or edited'),
      last?.detail ? h('p', { class: 'detail' }, short(last.detail, 120)) : null,
    ];
  }
  const failure = row.stats?.last_failure;
  if (row.state === 'failing' && failure) {
    return h('p', { class: 'detail' }, when(failure.at), ', ', h('a', { href: to('invocations', failure.id) }, 'see why'));
  }
  return null;
}

/** A host, which breaks at its dots if it must. */
function host(name) {
  return h('bdi', { class: 'host' }, visible(name).split('.').map((part, at) => (at ? ['.', h('wbr'), part] : part)));
}

function cells(row) {
  const stats = row.stats;
  const letters = row.dead_letters
    ? h('a', { href: to('webhooks', row.name, 'dead-letters'), class: 'bad-text strong' }, count(row.dead_letters))
    : h('span', { class: 'none' }, '0');
  return [
    [h('div', {}, h('span', { class: 'state' }, stateWords(row)), whatIsWrong(row))],
    [row.host ? host(row.host) : '–'],
    [chart(stats)],
    [millis(stats.p99_ms)],
    [h('div', {}, row.pending ? h('span', { class: 'strong' }, count(row.pending)) : h('span', { class: 'none' }, '0'),
      row.pending && row.oldest_pending_seconds !== null ? h('p', { class: 'detail' }, `oldest ${span(row.oldest_pending_seconds)}`) : null)],
    [letters],
    [when(stats.last_success, 'none yet')],
  ];
}

/** One row, which stays the same element while its cells change. */
function tableRow(name) {
  const shape = h('span', { class: 'dot-box' });
  const link = h('a', { href: to('webhooks', name), class: 'name' }, bdi(name));
  const under = h('div', {});
  const head = h('th', { scope: 'row', role: 'rowheader' }, h('div', { class: 'who' }, shape, h('div', {}, link, under)));
  const rest = HEADS.slice(1).map((label, at) => h('td', { role: 'cell', 'data-label': label, class: ['p99', 'Pending', 'Dead letters'].includes(label) ? 'num' : at === 2 ? 'graph' : null }));
  const element = h('tr', { role: 'row', 'data-webhook': name }, head, rest);
  const update = (row) => {
    element.dataset.state = row.state;
    fill(shape, dot(row.state));
    fill(under, row.title ? h('p', { class: 'title' }, short(row.title, 80)) : null, triggers(row));
    const focused = rest.findIndex((cell) => cell.contains(document.activeElement));
    cells(row).forEach((children, at) => fill(rest[at], ...children));
    if (focused >= 0) rest[focused].querySelector('a')?.focus();
  };
  return { element, update };
}

function summary(rows) {
  const states = {};
  for (const row of rows) states[row.state] = (states[row.state] ?? 0) + 1;
  const sum = (key) => rows.reduce((all, row) => all + (row[key] ?? 0), 0);
  const [pending, dead] = [sum('pending'), sum('dead_letters')];
  const tile = (number, words, tone) => h('li', { class: tone }, h('b', {}, count(number)), ' ', words);
  return [
    ...['active', 'failing', 'paused', 'faulty', 'shadow', 'inactive', 'removed'].filter((state) => states[state]).map((state) => h('li', {}, dot(state), h('b', {}, count(states[state])), ' ', state)),
    tile(pending, 'pending', pending ? '' : 'none'),
    tile(dead, dead === 1 ? 'dead letter' : 'dead letters', dead ? 'bad-text' : 'none'),
  ];
}

/** Shows it until `signal` ends it. */
export function webhooks(main, _parts, signal) {
  document.title = 'Webhooks · Outrigger';
  const body = h('tbody', { role: 'rowgroup' });
  const table = h('table', { role: 'table', class: 'list webhooks', hidden: true },
    h('caption', { class: 'quiet' }, 'Webhooks in the order of their names'),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, HEADS.map((head) => h('th', { scope: 'col', role: 'columnheader', class: ['p99', 'Pending', 'Dead letters'].includes(head) ? 'num' : null }, head)))), body);
  const sums = h('ul', { class: 'sums' });
  const nothing = h('div', {}, h('p', { class: 'loading' }, 'Asking…'));
  const search = h('input', { id: 'name', type: 'search', autocomplete: 'off', spellcheck: 'false', placeholder: 'any name' });
  const wrong = h('button', { type: 'button', 'aria-pressed': 'false' }, 'Only what needs a look');
  const more = h('button', { type: 'button', hidden: true }, 'Show more');
  const shown = new Map();
  const states = new Map();
  let most = ROWS_MAX;

  const wanted = () => {
    const text = search.value.trim().toLowerCase();
    const only = wrong.getAttribute('aria-pressed') === 'true';
    return [...known.rows.values()]
      .filter((row) => (!only || isWrong(row)) && (!text || `${row.name} ${row.title ?? ''} ${row.host ?? ''}`.toLowerCase().includes(text)))
      .sort((one, other) => (one.name < other.name ? -1 : 1));
  };
  const listen = (names) => {
    const news = [];
    for (const name of names) {
      const row = known.rows.get(name);
      const before = states.get(name);
      if (row && before && before !== row.state) news.push(`${name} is ${stateWords(row)}`);
      if (row) states.set(name, row.state);
      else states.delete(name);
    }
    if (news.length) say(news.slice(0, 3).join('. '));
  };
  const draw = (names) => {
    if (!known.rows) return;
    const all = wanted();
    const rows = all.slice(0, most);
    fill(sums, summary([...known.rows.values()]));
    const kept = new Set(rows.map((row) => row.name));
    for (const name of shown.keys()) if (!kept.has(name)) shown.delete(name);
    arrange(body, rows.map((row) => {
      const fresh = !shown.has(row.name);
      if (fresh) shown.set(row.name, tableRow(row.name));
      const { element, update } = shown.get(row.name);
      if (fresh || names.has(row.name)) update(row);
      return element;
    }));
    table.hidden = rows.length === 0;
    more.hidden = all.length <= rows.length;
    fill(more, `Show more (${count(all.length - rows.length)} left)`);
    fill(nothing, rows.length ? null : known.rows.size === 0
      ? empty(h('p', {}, 'No webhook is configured. Write ', h('code', {}, 'config/webhooks/NAME.toml'), '; it goes live when it is saved.'))
      : empty(h('p', {}, 'No webhook fits. ', wrong.getAttribute('aria-pressed') === 'true' ? 'Nothing needs a look.' : 'Clear the name field to see all.')));
    age();
  };
  const everything = () => draw(new Set(known.rows?.keys() ?? []));
  search.addEventListener('input', everything);
  wrong.addEventListener('click', () => {
    wrong.setAttribute('aria-pressed', String(wrong.getAttribute('aria-pressed') !== 'true'));
    everything();
    say(`${many(shown.size, 'webhook')} shown`);
  });
  more.addEventListener('click', () => { most += ROWS_MAX; everything(); });
  fill(main,
    h('div', { class: 'head' }, h('h1', { tabindex: -1 }, 'Webhooks'), sums),
    h('div', { class: 'bar' }, h('label', { for: 'name' }, 'Name'), search, wrong),
    table, nothing, h('p', { class: 'more' }, more));
  watch((what, names) => { if (what === 'rows') { listen(names); draw(names); } }, signal);
  // The minutes of the charts go on where nothing happens, too.
  const timer = setInterval(everything, REDRAW_MS);
  signal.addEventListener('abort', () => clearInterval(timer));
  if (known.rows) {
    listen(new Set(known.rows.keys()));
    everything();
  }
}
