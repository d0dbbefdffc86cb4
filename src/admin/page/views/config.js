// The configuration: what is in force, and what was wrong with an edit that was refused.

import { post } from '../api.js';
import { empty, facts, fault, fill, h, refill, say, section, tell, trouble } from '../dom.js';
import { count, many, when } from '../format.js';
import { known, lookAgain, watch } from '../store.js';
import { nodes, visible } from '../text.js';

const RESULTS = { published: ['good', 'published'], unchanged: ['good', 'unchanged'], refused: ['bad', 'refused: what was in force stays in force'] };

/** A tone and words for what the last look came to. */
function resultOf(look) {
  return RESULTS[look?.result] ?? ['hollow', look?.result];
}

function diagnostic(one) {
  const place = one.file ? `${one.file}${one.line ? `:${one.line}:${one.column ?? 1}` : ''}` : null;
  const gutter = one.line ? String(one.line) : '';
  const blank = ' '.repeat(gutter.length);
  return h('li', { class: `diagnostic ${one.level === 'error' ? 'bad' : 'warn'}` },
    h('p', {}, h('span', { class: `badge ${one.level === 'error' ? 'bad' : 'warn'}` }, visible(one.level)), ' ', h('b', {}, nodes(one.problem))),
    place ? h('p', { class: 'detail' }, h('code', {}, visible(place))) : null,
    one.source !== null && one.source !== undefined
      ? h('pre', { class: 'code', tabindex: 0, role: 'region', 'aria-label': `The line of the fault${place ? `, ${visible(place)}` : ''}`, dir: 'ltr' },
        h('span', { class: 'muted' }, `${gutter} | `), nodes(one.source), one.caret ? ['\n', h('span', { class: 'muted' }, `${blank} | `), h('span', { class: 'caret' }, one.caret)] : null)
      : null,
    one.fix ? h('p', {}, h('span', { class: 'muted' }, 'Fix: '), nodes(one.fix)) : null);
}

/** The list of faults, or nothing. */
function diagnostics(look) {
  const list = look.diagnostics ?? [];
  return list.length
    ? [h('ul', { class: 'plain diagnostics' }, list.map(diagnostic)), look.unlisted ? h('p', { class: 'detail' }, `${count(look.unlisted)} more: `, h('code', {}, 'outrigger check'), ' tells all.') : null]
    : null;
}

/** Shows it until `signal` ends it. */
export function config(main, _parts, signal) {
  document.title = 'Configuration · Outrigger';
  const shown = h('div', { class: 'stack' }, h('p', { class: 'loading' }, 'Asking…'));
  const outdated = h('div', {});
  const result = h('div', { 'aria-live': 'polite' });
  const again = h('button', { type: 'button', class: 'primary' }, 'Reload now');
  again.addEventListener('click', async () => {
    again.disabled = true;
    try {
      const answer = await post('/-/reload', {});
      tell(result, signal, 'Configuration', h('p', { class: 'note good' }, visible(answer.result === 'published' ? `Published as generation ${answer.generation}.` : 'Nothing changed.')));
    } catch (error) {
      tell(result, signal, 'Configuration', error.status === 422 ? h('p', { class: 'note bad' }, 'Refused: what was in force stays in force.') : fault(error));
    } finally {
      await lookAgain(signal).catch(() => {});
      again.disabled = false;
    }
  });
  const contents = (now) => {
    const look = now.last_look;
    const [tone, words] = resultOf(look);
    const faults = look ? diagnostics(look) : null;
    const errors = look?.diagnostics?.filter((one) => one.level === 'error').length ?? 0;
    return [
      section('In force', facts([
        ['Generation', count(now.generation)], ['Published', when(now.published_at)], ['Folder', h('code', {}, nodes(now.folder ?? ''))],
        ['Hash', now.hash ? h('span', { class: 'id' }, visible(now.hash)) : null],
      ])),
      section('Last reload', look
        ? [h('p', {}, h('span', { class: `badge ${tone}` }, visible(words)), ' ', when(look.at)), faults && errors ? h('p', {}, `${many(errors + (look.unlisted ?? 0), 'fault')} to mend. Save the file again and this page follows.`) : null, faults]
        : empty(h('p', {}, 'Nothing was reloaded since the start. Save a file of the folder, and it is.'))),
    ];
  };
  let seen;
  const draw = () => {
    const now = known.config;
    trouble(outdated, known.fault);
    if (!now) {
      if (known.fault) fill(shown);
      return;
    }
    const look = now.last_look;
    // Its times go on by themselves: what is said is the result alone, and not where the button's result says it.
    if (seen !== undefined && look && look.at !== seen && !again.disabled) say(`Last reload: ${visible(resultOf(look)[1])}`);
    seen = look?.at ?? null;
    refill(shown, contents, now);
  };
  fill(main, h('div', { class: 'head' }, h('h1', { tabindex: -1 }, 'Configuration'), h('div', { class: 'actions' }, again)), result, outdated, shown);
  watch((what) => { if (what === 'config') draw(); }, signal);
  draw();
}
