// One webhook: how it does, what it did, what it gave up on, and what its file says.

import { getExactly, post } from '../api.js';
import { empty, fault, fill, h, refill, say, section, tell, trouble } from '../dom.js';
import { bytes, count, millis, span, when } from '../format.js';
import { chart } from '../parts/chart.js';
import { block, folded } from '../parts/code.js';
import { confirm } from '../parts/confirm.js';
import { invocations } from '../parts/invocations.js';
import { letters } from '../parts/letters.js';
import { exchange } from '../parts/exchange.js';
import { schemaTable } from '../parts/schema.js';
import { dot, stateWords } from '../parts/status.js';
import { to } from '../route.js';
import { known, load, watch } from '../store.js';
import { bdi, nodes, visible } from '../text.js';
import { whatIsWrong } from './webhooks.js';

const TABS = [['', 'Invocations'], ['dead-letters', 'Dead letters'], ['definition', 'Definition'], ['sample', 'Template and sample'], ['schema', 'Payload schema']];

function limits(row) {
  const of = row.limits;
  if (!of) return null;
  const rate = of.rate ? `, ${Number(of.rate.per_second.toFixed(3))} a second in bursts of ${count(of.rate.burst)}` : '';
  return `${count(of.concurrency)} at the same time${rate}, responses up to ${bytes(of.response_bytes)}`;
}

function ordering(row) {
  if (!row.ordering) return null;
  return typeof row.ordering === 'string' ? visible(row.ordering) : visible(`one after another by ${row.ordering.key}, waiting at most ${span(row.ordering.max_wait_seconds)}`);
}

const under = (text) => h('span', { class: 'detail' }, text);

/** Numbers of a row: a name, what of the row it is made of, and how. */
const NUMBERS = [
  ['p50', ({ stats }) => [stats.p50_ms], millis],
  ['p99', ({ stats }) => [stats.p99_ms], millis],
  ['Pending', (row) => [row.pending, row.oldest_pending_seconds], (pending, oldest) => [count(pending), oldest === null ? null : under(`oldest ${span(oldest)}`)]],
  ['Dead letters', (row) => [row.dead_letters, row.name], (dead, name) => (dead ? h('a', { class: 'bad-text', href: to('webhooks', name, 'dead-letters') }, count(dead)) : '0')],
  ['Last success', ({ stats }) => [stats.last_success], (at) => when(at, 'none yet')],
  ['Last failure', ({ stats }) => [stats.last_failure], (last) => (last ? [h('a', { href: to('invocations', last.id) }, when(last.at)), under(visible(last.reason))] : 'none yet')],
];

/** An element, and what brings it up to date with a row. */
function overview() {
  const graph = h('div', { class: 'chart-box' });
  const numbers = NUMBERS.map(([name, of, make]) => ({ name, of, make, value: h('dd', {}) }));
  const element = h('div', { class: 'overview', hidden: true }, graph,
    h('dl', { class: 'numbers' }, numbers.map(({ name, value }) => h('div', { class: 'number' }, h('dt', {}, name), value))));
  const update = (row) => {
    element.hidden = false;
    fill(graph, chart(row.stats));
    for (const { of, make, value } of numbers) refill(value, make, ...of(row));
  };
  return { element, update };
}

function definition(detail) {
  if (!detail.definition) {
    return empty(h('p', {}, detail.status === 'faulty' ? ['Its file is faulty: see ', h('a', { href: to('config') }, 'Configuration'), '.'] : 'No file of the configuration in force defines it.'));
  }
  const sentences = detail.filters ?? [];
  return h('div', { class: 'stack' },
    section('When it wants an event',
      h('ul', { class: 'plain' },
        h('li', {}, detail.triggers ? ['The type is ', detail.triggers.map((type, at) => [at ? ', or ' : '', h('b', {}, visible(type))]), '.'] : 'Every type of its kind.'),
        sentences.map((sentence) => h('li', {}, nodes(sentence))))),
    section('How it is sent', h('ul', { class: 'plain' }, h('li', {}, 'Order: ', ordering(detail)), h('li', {}, 'Limits: ', limits(detail)))),
    h('section', { class: 'panel' },
      h('h2', {}, 'File ', h('code', {}, visible(detail.definition.file))),
      h('p', { class: 'detail' }, 'Secrets are masked. It is edited in git; an edit goes live when the file is saved.'),
      block(detail.definition.toml, 'The definition as TOML', 'toml')));
}

function sample(detail, exact, choose) {
  const shown = detail.sample;
  if (!shown) return empty(h('p', {}, 'There is no sample of this kind.'));
  const choice = h('select', { id: 'sample', on: { change: () => choose(choice.value) } },
    detail.samples.map((one) => h('option', { value: one.name, selected: one.name === shown.name }, visible(one.name))));
  const verdict = shown.wanted
    ? h('p', { class: 'note good' }, 'This webhook wants the sample.')
    : h('div', { class: 'note' }, h('strong', {}, 'This webhook does not want the sample.'), shown.why?.length ? h('ul', {}, shown.why.map((why) => h('li', {}, nodes(why)))) : null);
  const rendered = shown.problem
    ? h('div', { class: 'note bad' }, h('strong', {}, 'It cannot be rendered. '), nodes(shown.problem))
    : shown.request ? exchange(shown.request) : empty(h('p', {}, 'Nothing is rendered.'));
  return h('div', { class: 'stack' },
    h('div', { class: 'bar' }, h('label', { for: 'sample' }, 'Sample'), choice),
    verdict,
    shown.missing?.length ? h('div', { class: 'note warn' }, h('strong', {}, 'Missing in the event: '), shown.missing.map((path, at) => [at ? ', ' : '', h('code', {}, nodes(path))])) : null,
    h('div', { class: 'beside' },
      h('section', { class: 'panel' }, h('h2', {}, 'Template', detail.body_file ? [' ', h('code', {}, visible(detail.body_file))] : null),
        detail.template === null ? empty(h('p', {}, 'No template: the event itself is the body.')) : block(detail.template, 'The body template', 'template')),
      section('Rendered request', rendered)),
    folded('panel', 'The sample event', () => exact().sample.event));
}

function schema(detail) {
  return section(`Payload of the kind ${visible(detail.kind)}`, detail.schema.description ? h('p', {}, nodes(detail.schema.description)) : null, schemaTable(detail.schema));
}

/** What is under the tabs that show the webhook's file. */
const CONTENTS = new Map(Object.entries({ definition, sample, schema }));

/** Shows it until `signal` ends it. */
export function webhook(main, [name, tab = ''], signal) {
  const [, tabName] = TABS.find(([key]) => key === tab) ?? TABS[0];
  document.title = `${visible(name)}: ${tabName} · Outrigger`;
  const shape = h('span', { class: 'dot-box' });
  const state = h('div', { class: 'state-line' });
  const title = h('p', { class: 'title' });
  const where = h('p', { class: 'detail' });
  const numbers = overview();
  const result = h('div', { 'aria-live': 'polite' });
  const outdated = h('div', {});
  const resume = h('button', { type: 'button', hidden: true }, 'Resume');
  const trigger = h('select', { id: 'trigger' });
  const test = h('button', { type: 'button', class: 'primary' }, 'Test');
  const tester = h('div', { class: 'tester', hidden: true }, h('label', { for: 'trigger' }, 'Event'), trigger, test);
  const dead = h('span', { class: 'count' });
  const tabs = h('nav', { class: 'tabs', 'aria-label': 'Of this webhook' }, TABS.map(([key, text]) =>
    h('a', { href: to('webhooks', name, ...(key ? [key] : [])), 'aria-current': key === tab ? 'page' : null }, text, key === 'dead-letters' ? [' ', dead] : null)));
  const content = h('div', { class: 'content' });
  fill(main,
    h('p', { class: 'crumbs' }, h('a', { href: '#/' }, 'Webhooks'), h('span', { 'aria-hidden': true }, '/')),
    h('div', { class: 'head' },
      h('div', { class: 'who' }, shape, h('div', {}, h('h1', { tabindex: -1 }, bdi(name)), title, where, state)),
      h('div', { class: 'actions' }, resume, tester)),
    result, outdated, numbers.element, tabs, content);

  let list = null;
  let before = null;
  const drawRow = (row) => {
    fill(shape, dot(row.state));
    refill(state, (of) => [h('span', { class: `state is-${of.state}` }, stateWords(of)), ' ', whatIsWrong(of)],
      { state: row.state, paused: row.paused, stats: { last_failure: row.stats.last_failure } });
    refill(title, (text) => (text ? nodes(text) : null), row.title);
    refill(where, (kind, host) => (kind ? [visible(kind), ' to ', bdi(host)] : null), row.kind, row.host);
    numbers.update(row);
    fill(dead, row.dead_letters ? count(row.dead_letters) : '');
    resume.hidden = row.state !== 'paused';
    // One that was sent again and died again leaves the number as it was.
    const now = JSON.stringify([row.dead_letters, row.pending, row.stats.last_failure?.id]);
    if (before !== null && before !== now) list?.changed();
    before = now;
  };
  const likely = (detail) => detail.samples.find((one) => detail.triggers?.includes(one.name) || detail.triggers?.includes(one.event_type)) ?? detail.samples[0];
  let wanted = null;
  const look = async (within) => {
    const detailOf = (one) => getExactly(`webhooks/${encodeURIComponent(name)}`, { sample: one }, within);
    let [detail, exact] = await detailOf(null);
    if (tab === 'sample' && detail.samples?.length) {
      if (!detail.samples.some((one) => one.name === wanted)) wanted = likely(detail).name;
      [detail, exact] = await detailOf(wanted);
    }
    trouble(outdated, null);
    drawRow(known.rows?.get(name) ?? detail);
    if (detail.samples?.length) {
      refill(trigger, (samples, first) => samples.map((one) => h('option', { value: one.name, selected: one.name === first }, visible(one.name))), detail.samples, likely(detail).name);
    }
    tester.hidden = !detail.definition;
    const make = CONTENTS.get(tab);
    if (make) refill(content, () => (tab === 'schema' ? detail.schema : detail.definition) ? make(detail, exact, choose) : definition(detail), detail);
  };
  test.addEventListener('click', async () => {
    test.disabled = true;
    fill(result, h('p', { class: 'note' }, 'Testing: a mock event goes to the real target…'));
    try {
      const answer = await post(`webhooks/${encodeURIComponent(name)}/test`, trigger.value ? { trigger: trigger.value } : {});
      const [words, address] = [answer.successful ? 'Test successful' : 'Test failed', to('invocations', answer.invocation.id)];
      if (signal.aborted) {
        tell(result, signal, name, h('p', { class: `note ${answer.successful ? 'good' : 'bad'}` }, words, '. ', h('a', { href: address }, 'See it')));
        return;
      }
      say(words);
      location.hash = address;
    } catch (error) {
      tell(result, signal, name, fault(error));
    } finally {
      test.disabled = false;
    }
  });
  resume.addEventListener('click', async () => {
    const text = h('p', {}, `What ${name} holds is sent at once. If the target still fails, it pauses again.`);
    if (!await confirm(`Resume ${name}?`, text, 'Resume', signal)) return;
    try {
      const answer = await post(`webhooks/${encodeURIComponent(name)}/resume`, {});
      tell(result, signal, name, h('p', { class: 'note good' }, answer.resumed ? 'Resumed.' : 'It did not wait any more.'));
    } catch (error) {
      tell(result, signal, name, fault(error));
    }
  });
  if (tab === '' || tabName === TABS[0][1]) fill(content, invocations(name, signal));
  if (tab === 'dead-letters') {
    list = letters(name, signal);
    fill(content, list.element);
  }
  watch((what, names) => { if (what === 'rows' && names.has(name) && known.rows.has(name)) drawRow(known.rows.get(name)); }, signal);
  if (known.rows?.has(name)) drawRow(known.rows.get(name));
  const { anew } = load(look, (error) => trouble(outdated, error), signal);
  const choose = (one) => {
    wanted = one;
    anew();
  };
  let generation = known.generation;
  watch(() => {
    if (generation !== known.generation) anew();
    generation = known.generation;
  }, signal);
}
