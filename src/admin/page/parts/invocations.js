// A list of invocations, the latest first: new ones appear by themselves, older ones by a button.

import { get } from '../api.js';
import { empty, fill, h, refill, say, trouble } from '../dom.js';
import { count, due, many, millis, when } from '../format.js';
import { follow } from '../live.js';
import { to } from '../route.js';
import { bdi, short, visible } from '../text.js';
import { outcome } from './status.js';

const LOOK_MS = 1000;
const PAGE = 50;
/** Rows that are kept without being asked for. */
const ROWS_MAX = 200;

const THEN = { delivered: 'delivered', retry: 'will be sent again', held: 'held until the pause ends', dead: 'dead letter', none: 'a test' };

/** What became of the delivery. */
export function then(invocation) {
  if (invocation.test) return 'a test: nothing follows';
  if (invocation.then === 'retry' && invocation.retry_at) {
    return Date.parse(invocation.retry_at) < Date.now() ? ['was due again ', when(invocation.retry_at)] : ['will be sent again ', due(invocation.retry_at)];
  }
  return THEN[invocation.then] ?? visible(invocation.then);
}

function row(invocation) {
  const link = h('a', { href: to('invocations', invocation.id) }, when(invocation.at));
  const event = [
    h('span', { class: 'strong' }, short(invocation.event_type ?? '–', 60)),
    invocation.request_id ? [' ', h('a', { href: to('find', invocation.request_id), class: 'id' }, short(invocation.request_id, 40))] : null,
  ];
  const attempt = [count(invocation.attempt), invocation.probe ? h('span', { class: 'tag', title: 'One attempt to find out whether the pause can end' }, 'probe') : null,
    invocation.test ? h('span', { class: 'tag' }, 'test') : null];
  const cell = (label, ...children) => h('td', { 'data-label': label, role: 'cell' }, children);
  return h('tr', { role: 'row', 'data-id': invocation.id, class: invocation.outcome === 'failed' ? 'is-bad' : null },
    h('th', { scope: 'row', role: 'rowheader', 'data-label': 'When' }, link),
    cell('Outcome', h('div', {}, outcome(invocation), invocation.detail ? h('p', { class: 'detail' }, short(invocation.detail, 140)) : null)),
    cell('Event', h('div', {}, event)),
    cell('Attempt', h('div', {}, attempt)),
    cell('Status', invocation.status ?? '–'),
    cell('Duration', millis(invocation.duration_ms)),
    cell('Then', h('div', {}, then(invocation))));
}

/** The list of a webhook. `signal` ends it. */
export function invocations(webhook, signal) {
  const body = h('tbody', { role: 'rowgroup' });
  const heads = ['When', 'Outcome', 'Event', 'Attempt', 'Status', 'Duration', 'Then'];
  const table = h('table', { role: 'table', class: 'list invocations' },
    h('caption', { class: 'quiet' }, 'Invocations, the latest first'),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, heads.map((head) => h('th', { scope: 'col', role: 'columnheader' }, head)))), body);
  const nothing = h('div', {});
  const outdated = h('div', {});
  const unshown = h('div', {});
  const older = h('button', { type: 'button', hidden: true }, 'Show older');
  const choice = h('select', { id: 'outcome' }, [['', 'all'], ['accepted', 'accepted'], ['failed', 'failed']].map(([value, text]) => h('option', { value }, text)));
  const hold = h('button', { type: 'button', 'aria-pressed': 'false' }, 'Hold the list');
  let [newest, cursor, most, held, run] = [null, null, ROWS_MAX, false, new AbortController()];

  const asked = (more) => ({ webhook, outcome: choice.value, limit: PAGE, ...more });
  const none = (wanted) => (wanted
    ? empty(h('p', {}, `No ${wanted} invocation is kept.`))
    : empty(h('p', {}, 'No invocations yet. Press Test above, or post an event that this webhook wants:'),
      h('pre', { class: 'code', tabindex: 0 }, 'curl --json @event.json http://127.0.0.1:8460/v1/events')));
  const settle = () => {
    // While older ones are asked for, what they follow stays.
    while (!older.disabled && body.rows.length > most) {
      body.lastElementChild.remove();
      cursor = body.lastElementChild.dataset.id;
    }
    older.hidden = cursor === null;
    table.hidden = body.rows.length === 0;
    refill(nothing, (wanted) => (wanted === null ? null : none(wanted)), body.rows.length ? null : choice.value);
  };
  const first = async (within) => {
    const answer = await get('invocations', asked({}), within);
    newest = answer.newest;
    cursor = answer.cursor;
    fill(body, answer.invocations.map(row));
    settle();
  };
  const later = async (within) => {
    const answer = await get('invocations', asked({ after: newest, limit: ROWS_MAX }), within);
    if (held) return;
    newest = answer.newest ?? newest;
    if (!answer.invocations.length) return;
    // As many as fit into one answer: some between these and those that are shown were left out.
    if (answer.cursor !== null) {
      fill(body);
      cursor = answer.cursor;
    }
    body.prepend(...answer.invocations.map(row));
    settle();
  };
  const told = (error) => {
    if (!signal.aborted) trouble(outdated, error);
    return error?.status !== 401;
  };
  const start = () => {
    run.abort();
    run = new AbortController();
    [newest, cursor] = [null, null];
    let begun = false;
    follow(async (within) => {
      if (begun && held) return;
      await (newest === null ? first(within) : later(within));
      begun = true;
      told(null);
    }, LOOK_MS, AbortSignal.any([signal, run.signal]), told);
  };
  choice.addEventListener('change', () => {
    fill(body);
    fill(nothing, h('p', { class: 'loading' }, 'Asking…'));
    table.hidden = true;
    older.hidden = true;
    trouble(unshown, null);
    start();
  });
  hold.addEventListener('click', () => {
    held = !held;
    hold.setAttribute('aria-pressed', String(held));
    say(held ? 'The list is held' : 'The list goes on');
  });
  older.addEventListener('click', async () => {
    const [mine, from] = [run, cursor];
    older.disabled = true;
    try {
      const answer = await get('invocations', asked({ cursor }), signal);
      // The list is another by now.
      if (mine !== run || from !== cursor) return;
      trouble(unshown, null);
      cursor = answer.cursor;
      most += answer.invocations.length;
      const added = answer.invocations.map(row);
      body.append(...added);
      settle();
      say(`${many(added.length, 'older invocation')} shown`);
      added[0]?.querySelector('a').focus();
    } catch (error) {
      if (!signal.aborted && mine === run) trouble(unshown, error);
    } finally {
      older.disabled = false;
    }
  });
  start();
  return h('div', {},
    h('div', { class: 'bar' }, h('label', { for: 'outcome' }, 'Outcome'), choice, hold),
    outdated, table, nothing, unshown, h('p', { class: 'more' }, older));
}

/** The event that an invocation was about, as a link to its story. */
export function eventLink(invocation) {
  return h('a', { href: to('find', invocation.event_id), class: 'id' }, bdi(invocation.event_id));
}
