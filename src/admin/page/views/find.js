// An event's whole story: what each webhook made of it, and one time line over all of them.

import { getExactly } from '../api.js';
import { arrange, empty, fill, h, refill, say, trouble } from '../dom.js';
import { bytes, count, due, exactly, many, millis, span, timeOfDay, when } from '../format.js';
import { folded } from '../parts/code.js';
import { then } from '../parts/invocations.js';
import { badge, mark } from '../parts/status.js';
import { to } from '../route.js';
import { known, load, watch } from '../store.js';
import { bdi, nodes, short, visible } from '../text.js';

/** Steps of one event that are shown without being asked for. */
const STEPS_MAX = 200;

/** How long what is pending is not asked for at most. */
const SELDOM_MS = 15_000;

/** What went wrong comes first. */
const ORDER = ['dead', 'pending', 'delivered', 'unknown', 'unwanted'];

function verdicts(story) {
  const sorted = [...story.webhooks].sort((one, other) => ORDER.indexOf(one.verdict) - ORDER.indexOf(other.verdict));
  const rows = sorted.map((one) => {
    const last = one.invocations.at(-1);
    // The time line has links to the same.
    const key = `last ${one.webhook}`;
    return h('tr', { role: 'row', class: one.verdict === 'dead' ? 'is-bad' : null },
      h('th', { scope: 'row', role: 'rowheader', 'data-label': 'Webhook' }, h('a', { href: to('webhooks', one.webhook) }, bdi(one.webhook))),
      h('td', { role: 'cell', 'data-label': 'Verdict' }, badge(one.verdict, one.dead_letter ? `dead letter: ${one.dead_letter.reason}` : one.verdict)),
      h('td', { role: 'cell', 'data-label': 'Why' }, h('div', {}, nodes(one.why ?? ''))),
      h('td', { role: 'cell', 'data-label': 'Last attempt' }, last ? h('a', { href: to('invocations', last.id), 'data-key': key }, last.outcome === 'failed' ? 'See why' : 'See it') : one.dead_letter ? h('a', { href: to('webhooks', one.webhook, 'dead-letters'), 'data-key': key }, 'Dead letters') : h('span', { class: 'none' }, '–')));
  });
  const heads = ['Webhook', 'Verdict', 'Why', 'Last attempt'];
  return h('table', { role: 'table', class: 'list verdicts' },
    h('caption', { class: 'quiet' }, 'What each webhook made of it'),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, heads.map((head) => h('th', { scope: 'col', role: 'columnheader' }, head)))),
    h('tbody', { role: 'rowgroup' }, rows));
}

/** All that happened, in order: `{at, webhook, word, link, text}`. */
function steps(story) {
  const all = [{ at: story.received_at, word: 'received', text: ['Received, and durable'] }];
  for (const one of story.webhooks) {
    for (const [at, invocation] of one.invocations.entries()) {
      const isLast = at === one.invocations.length - 1;
      const words = invocation.outcome === 'accepted' ? 'accepted' : ['failed: ', h('b', {}, visible(invocation.reason))];
      all.push({
        at: invocation.at, webhook: one.webhook, word: invocation.outcome, id: invocation.id,
        text: [h('a', { href: to('invocations', invocation.id) }, `Attempt ${count(invocation.attempt)} `, words), h('span', { class: 'muted' }, ` ${millis(invocation.duration_ms)}`),
          invocation.detail ? h('p', { class: 'detail' }, short(invocation.detail, 240)) : null,
          invocation.outcome === 'failed' ? h('p', { class: 'detail' }, 'then: ', isLast || invocation.then === 'dead' ? then(invocation) : 'sent again') : null],
      });
    }
    if (one.dead_letter) {
      all.push({
        at: one.dead_letter.died_at, webhook: one.webhook, word: 'dead',
        text: ['Became a ', h('a', { href: to('webhooks', one.webhook, 'dead-letters') }, 'dead letter'), ': ', h('b', {}, visible(one.dead_letter.reason))],
      });
    }
  }
  all.sort((one, other) => Date.parse(one.at ?? 0) - Date.parse(other.at ?? 0));
  for (const one of story.webhooks.filter((each) => each.pending)) {
    const dueAt = one.pending.due;
    all.push({ at: null, webhook: one.webhook, word: 'pending', text: ['Pending after ', many(one.pending.attempts, 'attempt'), dueAt ? [', due ', due(dueAt)] : ', held'] });
  }
  return all;
}

function timeLine(story, panel) {
  const all = steps(story);
  const start = Date.parse(story.received_at);
  const item = (step) => {
    const after = step.at ? (Date.parse(step.at) - start) / 1000 : null;
    return h('li', { class: step.word },
      h('span', { class: 'at' }, step.at ? [h('time', { datetime: step.at, title: exactly(step.at) }, timeOfDay(step.at)), after > 0 ? h('span', { class: 'muted' }, after < 60 ? ` +${after.toFixed(after < 10 ? 2 : 1)} s` : ` +${span(after)}`) : null] : 'now'),
      h('span', { class: 'knot' }, step.word === 'received' ? mark('unwanted') : mark(step.word)),
      h('div', { class: 'what' }, step.webhook ? h('p', { class: 'lane' }, bdi(step.webhook)) : null, h('div', {}, step.text)));
  };
  const list = h('ol', { class: 'line' }, (panel.whole ? all : all.slice(0, STEPS_MAX)).map(item));
  if (list.children.length === all.length) return list;
  const more = h('button', { type: 'button' }, `Show all ${count(all.length)} steps`);
  more.addEventListener('click', () => {
    panel.whole = true;
    list.append(...all.slice(STEPS_MAX).map(item));
    more.remove();
    list.children[STEPS_MAX].querySelector('a')?.focus();
  });
  return h('div', {}, list, more);
}

/** What an event's panel tells. */
function storyOf(story, panel) {
  return [
    h('h2', {}, short(story.event_type ?? 'event', 80), story.request_id ? [' ', h('span', { class: 'muted' }, short(story.request_id, 60))] : null),
    h('p', { class: 'detail' }, visible(story.kind), ' · ', h('span', { class: 'id' }, bdi(story.event_id)), story.received_at ? [' · received ', when(story.received_at)] : null),
    story.webhooks.length ? verdicts(story) : empty(h('p', {}, 'No webhook is configured for it.')),
    h('h3', {}, 'Time line'), timeLine(story, panel),
  ];
}

/** The event itself, folded away; or why it is not shown. */
function eventOf(id, event, size) {
  return event ? folded(null, 'The event', () => event) : h('p', { class: 'detail' }, size
    ? [`The event is ${bytes(size)} large: `, h('a', { href: to('find', id) }, 'find it by its own id'), ' to see it.']
    : 'The event itself is not kept any more.');
}

/** The panel of an event: its story is drawn again as it goes on, the event is not. */
function panelOf(id) {
  const [told, event] = [h('div', {}), h('div', {})];
  const panel = {
    element: h('article', { class: 'panel story' }, told, event),
    /** Whether all steps are shown. */
    whole: false,
    update: ({ event: rounded, event_bytes: size, ...story }, exact) => {
      refill(told, (of) => storyOf(of, panel), story);
      refill(event, () => eventOf(id, exact(), size), rounded, size);
    },
  };
  return panel;
}

/** What of a webhook's row changes only when something happened. */
function doings(row) {
  return row && JSON.stringify([row.state, row.pending, row.dead_letters, row.stats.accepted, row.stats.failed]);
}

/** For how long nothing is likely to happen to what is pending: until it is due, and longer where that was long ago or a pause holds it. */
function quietMs(pending) {
  const isHeld = (one) => !one.pending.due || known.rows.get(one.webhook)?.state === 'paused';
  return Math.min(SELDOM_MS, ...pending.filter((one) => !isHeld(one)).map((one) => Math.abs(Date.parse(one.pending.due) - Date.now())));
}

/** How many events there are, and to how many of them something happened that should not. */
function summary(events) {
  const of = (verdict) => events.filter((story) => story.webhooks.some((one) => one.verdict === verdict)).length;
  const parts = [['dead', 'with a dead letter'], ['pending', 'pending']].filter(([verdict]) => of(verdict)).map(([verdict, words]) => `${count(of(verdict))} ${words}`);
  return [many(events.length, 'event'), events.length > 1 ? 'the newest first' : null, ...parts].filter(Boolean).join(', ');
}

/** Shows it. */
export function find(main, [text = ''], signal) {
  document.title = `Find ${visible(text)} · Outrigger`;
  document.getElementById('find-text').value = text;
  const outdated = h('div', {});
  const over = h('div', {}, h('p', { class: 'loading' }, 'Looking…'));
  const stories = h('div', { class: 'stack' });
  fill(main, h('div', { class: 'head' }, h('h1', { tabindex: -1 }, text.startsWith('evt_') ? 'Event ' : 'Events of ', bdi(text))), outdated, over, stories);
  if (!text) {
    fill(over, empty(h('p', {}, 'Type the id of an event, of a delivery, or of an access request such as AR-123 into the field above.')));
    return;
  }
  const panels = new Map();
  let said = null;
  let [awaited, changed, quietUntil] = [new Set(), false, 0];
  const marks = new Map();
  watch((what, names) => {
    if (what !== 'rows') return;
    for (const name of names) {
      const now = doings(known.rows.get(name));
      if (marks.get(name) !== now && awaited.has(name)) changed = true;
      marks.set(name, now);
    }
  }, signal);
  load(async (within) => {
    // A story may be large: it is asked for when something may have happened.
    if (!changed && performance.now() < quietUntil) return true;
    [changed, quietUntil] = [false, 0];
    const [{ events, complete }, exact] = await getExactly('events', { find: text }, within);
    trouble(outdated, null);
    const words = summary(events);
    if (words !== said) say(said === null ? `${many(events.length, 'event')} found` : words);
    said = words;
    refill(over, (all, none) => [
      all ? null : h('p', { class: 'detail' }, 'There may be more: only the latest events in store were looked through, and the newest are shown. An event is found further back by its own id once it is a dead letter.'),
      none ? empty(h('p', {}, 'Nothing is known of this. Either no such event was received, or all that happened to it is forgotten: only what is pending, dead, or among the last invocations of a webhook is kept.')) : h('p', { class: 'detail' }, words),
    ], complete, events.length === 0, words);
    arrange(stories, events.map((story, at) => {
      if (!panels.has(story.event_id)) panels.set(story.event_id, panelOf(story.event_id));
      const panel = panels.get(story.event_id);
      panel.update(story, () => exact().events[at].event);
      return panel.element;
    }));
    const pending = events.flatMap((story) => story.webhooks).filter((one) => one.pending);
    awaited = new Set(pending.map((one) => one.webhook));
    quietUntil = performance.now() + quietMs(pending);
    return pending.length > 0;
  }, (error) => {
    if (said === null) fill(over);
    trouble(outdated, error);
  }, signal);
}
