// View Invocation Data: one attempt, what was sent, what came back, why it counts as it does, and what to do next.

import { getExactly, post } from '../api.js';
import { empty, facts, fault, fill, h, refill, say, section, tell } from '../dom.js';
import { count, millis, timeOfDay, when } from '../format.js';
import { folded } from '../parts/code.js';
import { confirm, show } from '../parts/confirm.js';
import { curl } from '../parts/curl.js';
import { exchange } from '../parts/exchange.js';
import { eventLink, then } from '../parts/invocations.js';
import { mark } from '../parts/status.js';
import { timing } from '../parts/timing.js';
import { to } from '../route.js';
import { load } from '../store.js';
import { bdi, nodes, short, visible } from '../text.js';

function verdict(invocation) {
  const good = invocation.outcome === 'accepted';
  const words = invocation.test ? (good ? 'Test successful' : 'Test failed') : good ? 'Accepted' : 'Failed';
  return h('div', { class: `verdict ${good ? 'good' : 'bad'}` },
    mark(invocation.outcome),
    h('div', {},
      h('p', { class: 'verdict-words' }, h('strong', {}, words), invocation.reason ? [': ', h('code', {}, visible(invocation.reason))] : null),
      invocation.detail ? h('p', {}, nodes(invocation.detail)) : null,
      invocation.advice ? h('p', { class: 'advice' }, h('b', {}, 'What to do next: '), nodes(invocation.advice)) : null));
}

const OMITTED = 'Left out: request, response and validators together are too large to be kept in the spool.';

function noRequest(invocation) {
  if (invocation.reason === 'template_error') return 'No request was made: it could not be rendered.';
  return invocation.omitted ? OMITTED : 'It cannot be made again: its event was too large to be kept.';
}

function validators(invocation) {
  if (!invocation.validators.length) {
    return h('p', { class: 'detail' }, invocation.omitted ? OMITTED : 'No validator was asked: there is none, or the status alone said no.');
  }
  const cell = (label, ...children) => h('td', { role: 'cell', 'data-label': label }, h('div', {}, children));
  const heads = ['Verdict', 'Validator', 'Expected', 'Found'];
  const rows = invocation.validators.map((one) => {
    const values = one.values.map((value, at) => [at ? h('span', { class: 'muted' }, ' or ') : '', h('code', {}, short(typeof value === 'string' ? value : JSON.stringify(value), 200))]);
    const words = one.passed ? 'passed' : 'failed';
    return h('tr', { role: 'row', class: one.passed ? null : 'is-bad' },
      cell('Verdict', h('span', { class: `badge ${one.passed ? 'good' : 'bad'}` }, mark(one.passed ? 'accepted' : 'failed'), words)),
      h('th', { scope: 'row', role: 'rowheader', 'data-label': 'Validator' }, h('div', {}, bdi(one.name), one.path !== one.name ? h('p', { class: 'detail' }, h('code', {}, nodes(one.path))) : null)),
      cell('Expected', one.rule === 'rejected' ? 'none of ' : null, values),
      cell('Found', one.found === null ? h('span', { class: 'muted' }, 'nothing at this path') : h('code', {}, short(one.found, 400))));
  });
  return h('table', { role: 'table', class: 'list validators' },
    h('caption', { class: 'quiet' }, 'Validators'),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, heads.map((head) => h('th', { scope: 'col', role: 'columnheader' }, head)))),
    h('tbody', { role: 'rowgroup' }, rows));
}

async function copy(request, signal) {
  const command = curl(request);
  try {
    await navigator.clipboard.writeText(command);
    say('Copied as curl');
    return true;
  } catch {
    show('Copy as curl', command, signal);
    return false;
  }
}

/** What the view holds; `result` is where it says what came of a request. */
function contents(invocation, exact, result, signal) {
  const title = invocation.test ? 'Test' : `Attempt ${count(invocation.attempt)}`;
  const copied = h('button', { type: 'button' }, 'Copy as curl');
  copied.addEventListener('click', async () => {
    if (!await copy(invocation.request, signal)) return;
    fill(copied, 'Copied');
    setTimeout(() => fill(copied, 'Copy as curl'), 2000);
  });
  const resend = h('button', { type: 'button', class: 'primary' }, 'Resend');
  resend.addEventListener('click', async () => {
    const text = h('p', {}, 'The delivery ', h('code', {}, bdi(invocation.delivery_id)), ` becomes pending again and goes to ${invocation.webhook} with the definition in force now and the same delivery id.`);
    if (!await confirm('Resend this delivery?', text, 'Resend', signal)) return;
    resend.disabled = true;
    try {
      await post(`invocations/${encodeURIComponent(invocation.id)}/resend`, {});
      tell(result, signal, invocation.webhook, h('p', { class: 'note good' }, 'It is pending again. ', h('a', { href: to('find', invocation.event_id) }, 'See what becomes of it'), '.'));
    } catch (error) {
      tell(result, signal, invocation.webhook, fault(error));
    } finally {
      resend.disabled = false;
    }
  });
  return [
    h('p', { class: 'crumbs' }, h('a', { href: '#/' }, 'Webhooks'), h('span', { 'aria-hidden': true }, '/'), h('a', { href: to('webhooks', invocation.webhook) }, bdi(invocation.webhook)), h('span', { 'aria-hidden': true }, '/')),
    h('div', { class: 'head' },
      h('div', {}, h('h1', { tabindex: -1 }, title, h('span', { class: 'muted' }, ' to '), bdi(invocation.webhook)),
        h('p', { class: 'title' }, short(invocation.event_type ?? 'event', 80), invocation.request_id ? [' · ', h('a', { href: to('find', invocation.request_id) }, short(invocation.request_id, 60))] : null, ' · ', when(invocation.at))),
      h('div', { class: 'actions' }, invocation.request ? copied : null, invocation.resendable ? resend : null)),
    result,
    verdict(invocation),
    h('div', { class: 'beside even' },
      section('Facts', facts([
        ['Ended', [timeOfDay(invocation.at), ', ', when(invocation.at)]],
        ['Then', then(invocation)],
        ['Status', invocation.status], ['Duration', millis(invocation.duration_ms)],
        ['Event', eventLink(invocation)], ['Delivery', h('span', { class: 'id' }, bdi(invocation.delivery_id))],
        ['Invocation', h('span', { class: 'id' }, bdi(invocation.id))],
        ['Generation', `${count(invocation.generation)} of the configuration`],
        ['Probe', invocation.probe ? 'yes: one attempt to find out whether the pause can end' : null],
        ['Not resendable', invocation.resendable || invocation.test ? null : 'its event is not kept any more, or it is still pending'],
      ])),
      section('Time', timing(invocation))),
    section('Validators', validators(invocation)),
    invocation.missing.length ? h('div', { class: 'note warn' }, h('strong', {}, 'Missing in the event: '), invocation.missing.map((path, at) => [at ? ', ' : '', h('code', {}, nodes(path))])) : null,
    h('div', { class: 'beside even' },
      section('Request', invocation.request ? exchange(invocation.request) : empty(h('p', {}, noRequest(invocation)))),
      section('Response', invocation.response ? exchange(invocation.response) : empty(h('p', {}, invocation.status ? `${invocation.status}. ${OMITTED}` : 'No response came.')))),
    invocation.event
      ? folded('panel', 'The event', () => exact().event)
      : h('p', { class: 'detail' }, 'The event itself is not kept any more.'),
  ];
}

/** Shows it. */
export function invocation(main, [id], signal) {
  document.title = 'Invocation · Outrigger';
  fill(main, h('h1', { tabindex: -1 }, 'View Invocation Data'), h('p', { class: 'loading' }, 'Asking…'));
  const result = h('div', { 'aria-live': 'polite' });
  let shown = false;
  load(async (within) => {
    const [found, exact] = await getExactly(`invocations/${encodeURIComponent(id)}`, {}, within);
    document.title = `${visible(found.webhook)}: ${visible(found.reason ?? found.outcome)} · Outrigger`;
    refill(main, () => contents(found, exact, result, signal), found);
    if (shown) return;
    shown = true;
    main.querySelector('h1').focus({ preventScroll: true });
  }, ({ status, title, message }) => {
    // What was shown stays while the sidecar is away.
    if (shown && status !== 404) return;
    refill(main, () => [h('h1', { tabindex: -1 }, 'Invocation'), status === 404
      ? empty(h('p', {}, 'This invocation is not kept any more. Only the last ones of each webhook are.'), h('p', {}, h('a', { href: '#/' }, 'To the webhooks')))
      : fault({ title, message })], status, title, message);
  }, signal);
}
