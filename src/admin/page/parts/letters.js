// Dead letters of a webhook, and sending them again: one, those that are chosen, or all.

import { get, post } from '../api.js';
import { arrange, empty, fault, fill, h, say, tell, trouble } from '../dom.js';
import { count, many, when } from '../format.js';
import { to } from '../route.js';
import { load } from '../store.js';
import { bdi, short, visible } from '../text.js';
import { confirm } from './confirm.js';
import { badge } from './status.js';

const PAGE = 100;
/** Dead letters that one answer holds. */
const ANSWER_MAX = 1000;
/** Ids that one request may name. */
const IDS_MAX = 100;

/** How the messages of a replay end: what was not done and why. */
function leftOver(sum) {
  const left = [];
  for (const [webhook, number] of Object.entries(sum.skipped)) left.push(`${count(number)} left: no file defines ${visible(webhook)}`);
  if (sum.missing) left.push(`${count(sum.missing)} were no dead letters any more`);
  return left.length ? ` (${left.join('; ')})` : '';
}

/** Sends them again step by step; none follows once `signal` has ended the view. */
async function replay(requests, heard, signal) {
  const sum = { replayed: 0, skipped: {}, missing: 0 };
  for (const request of requests) {
    let cursor = null;
    do {
      if (signal.aborted) return { ...sum, left: true };
      const answer = await post('dead-letters/replay', cursor ? { ...request, cursor } : request);
      sum.replayed += answer.replayed;
      sum.missing += answer.missing.length;
      for (const [webhook, number] of Object.entries(answer.skipped)) sum.skipped[webhook] = (sum.skipped[webhook] ?? 0) + number;
      cursor = answer.cursor;
      heard(`${count(sum.replayed)} replayed so far`);
    } while (cursor);
  }
  return sum;
}

/** The list with its buttons. `changed` is to be called when dead letters may have come or gone. */
export function letters(webhook, signal) {
  const body = h('tbody', { role: 'rowgroup' });
  const result = h('div', { 'aria-live': 'polite' });
  const outdated = h('div', {});
  const nothing = h('div', {});
  const every = h('input', { type: 'checkbox', 'aria-label': 'Choose all that are shown' });
  const chosen = h('button', { type: 'button', disabled: true }, 'Replay chosen');
  const all = h('button', { type: 'button', disabled: true }, 'Replay all');
  const older = h('button', { type: 'button', hidden: true }, 'Show older');
  const heads = ['Event', 'Reason', 'Attempts', 'Died', ''];
  const table = h('table', { role: 'table', class: 'list letters', hidden: true },
    h('caption', { class: 'quiet' }, 'Dead letters, the newest first'),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, h('th', { scope: 'col', role: 'columnheader', class: 'pick' }, every),
      heads.map((head) => h('th', { scope: 'col', role: 'columnheader' }, head || h('span', { class: 'quiet' }, 'Replay'))))), body);
  let [rows, most, more, busy, afterwards] = [new Map(), PAGE, false, false, null];

  const boxes = () => [...body.querySelectorAll('input')];
  const picked = () => boxes().filter((box) => box.checked).map((box) => box.value);
  const settle = () => {
    const [ids, shown] = [picked(), boxes().length];
    chosen.disabled = busy || ids.length === 0;
    fill(chosen, ids.length ? `Replay chosen (${count(ids.length)})` : 'Replay chosen');
    all.disabled = busy || shown === 0;
    every.checked = shown > 0 && ids.length === shown;
    every.indeterminate = ids.length > 0 && ids.length < shown;
    older.hidden = !more;
    table.hidden = shown === 0;
    fill(nothing, shown ? null : empty(h('p', {}, 'No dead letters: nothing was given up on.')));
    for (const button of body.querySelectorAll('button')) button.disabled = busy;
  };
  const row = (letter) => h('tr', { role: 'row' },
    h('td', { role: 'cell', class: 'pick' }, h('input', { type: 'checkbox', value: letter.id, 'aria-label': `Choose ${visible(letter.event_type ?? 'event')} ${letter.event_id}` })),
    h('th', { scope: 'row', role: 'rowheader', 'data-label': 'Event' }, h('div', {}, h('span', { class: 'strong' }, short(letter.event_type ?? '–', 60)), ' ', h('a', { href: to('find', letter.event_id), class: 'id' }, bdi(letter.event_id)))),
    h('td', { role: 'cell', 'data-label': 'Reason' }, h('div', {}, badge('dead', letter.reason), letter.last?.detail ? h('p', { class: 'detail' }, short(letter.last.detail, 160)) : null)),
    h('td', { role: 'cell', 'data-label': 'Attempts' }, count(letter.attempts)),
    h('td', { role: 'cell', 'data-label': 'Died' }, when(letter.died_at)),
    h('td', { role: 'cell' }, h('button', { type: 'button', 'aria-label': `Replay ${letter.event_id}`, on: { click: () => ask([{ ids: [letter.id] }], 'Replay this dead letter?', 1, letter.event_id) } }, 'Replay')));
  const look = async (within) => {
    const found = [];
    let cursor = null;
    do {
      const answer = await get('dead-letters', { webhook, limit: Math.min(ANSWER_MAX, most - found.length), order: 'newest', cursor }, within);
      found.push(...answer.dead_letters);
      cursor = answer.cursor;
    } while (cursor && found.length < most);
    more = cursor !== null;
    trouble(outdated, null);
    const hadFocus = body.contains(document.activeElement);
    // One that was sent again and died again is another.
    rows = new Map(found.map((letter) => {
      const key = `${letter.id} ${letter.died_at}`;
      return [key, rows.get(key) ?? row(letter)];
    }));
    arrange(body, [...rows.values()]);
    settle();
    if (hadFocus && !body.contains(document.activeElement)) element.focus();
    // Whoever is elsewhere by now stays there.
    if (document.activeElement === document.body || element.contains(document.activeElement)) afterwards?.();
    afterwards = null;
  };
  const ask = async (requests, title, number, event = null) => {
    const text = [
      event === null ? null : h('p', {}, 'Its event is ', h('code', {}, bdi(event)), '.'),
      h('p', {}, number === null ? `All dead letters of ${webhook} become pending again` : `${many(number, 'delivery becomes', 'deliveries become')} pending again`,
        ' and are sent with the definition in force now. The delivery ids stay: a receiver that honours them takes nothing twice.'),
    ];
    if (!await confirm(title, text, 'Replay', signal)) return;
    busy = true;
    settle();
    try {
      const sum = await replay(requests, (words) => fill(result, h('p', { class: 'note' }, words)), signal);
      const words = `${many(sum.replayed, 'dead letter')} replayed${leftOver(sum)}.${sum.left ? ' The others stay: their view was left.' : ''}`;
      tell(result, signal, webhook, h('p', { class: sum.replayed && !sum.left ? 'note good' : 'note warn' }, words));
    } catch (error) {
      tell(result, signal, webhook, fault(error));
    }
    busy = false;
    afterwards = () => (all.disabled ? element : all).focus();
    if (!signal.aborted) anew();
  };
  every.addEventListener('change', () => { for (const box of boxes()) box.checked = every.checked; settle(); say(`${many(picked().length, 'dead letter')} chosen`); });
  body.addEventListener('change', settle);
  chosen.addEventListener('click', () => {
    const ids = picked();
    const requests = [];
    for (let at = 0; at < ids.length; at += IDS_MAX) requests.push({ ids: ids.slice(at, at + IDS_MAX) });
    ask(requests, `Replay ${many(ids.length, 'dead letter')}?`, ids.length);
  });
  all.addEventListener('click', () => ask([{ webhook, all: true }], 'Replay all dead letters?', null));
  older.addEventListener('click', () => {
    const last = body.lastElementChild;
    most += PAGE;
    afterwards = () => last.nextElementSibling?.querySelector('a').focus();
    anew();
  });
  const element = h('div', { tabindex: -1 }, h('div', { class: 'bar' }, chosen, all), result, outdated, table, nothing, h('p', { class: 'more' }, older));
  const { anew, later } = load(look, (error) => {
    afterwards = null;
    trouble(outdated, error);
  }, signal);
  return { element, changed: () => { if (!busy) later(); } };
}
