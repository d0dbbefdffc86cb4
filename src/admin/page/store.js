// What the whole page knows: the rows of all webhooks, kept up to date by the cursor, and what became of the last reload.

import { get } from './api.js';
import { follow } from './live.js';

const CHANGES_MS = 1000;
const CONFIG_MS = 3000;

/** `rows` by name, `config` as the API tells it; both null until they are known. `fault` is why the last look at `config` failed. */
export const known = { rows: null, generation: null, config: null, fault: null };

const listeners = new Set();
let cursor = null;

/** Calls `listener(what, names)` with `what` of `rows` or `config` whenever something changed, or `back` once the sidecar answers again, until `signal` ends it. */
export function watch(listener, signal) {
  listeners.add(listener);
  signal.addEventListener('abort', () => listeners.delete(listener));
}

function tell(what, names) {
  for (const listener of [...listeners]) listener(what, names);
}

/** Whether it is another process than before that answers. */
async function askChanges(signal) {
  const answer = await get('changes', { cursor }, signal);
  const first = known.rows === null || answer.reset;
  const another = first && known.rows !== null;
  const before = known.rows ?? new Map();
  const rows = first ? new Map() : before;
  for (const row of answer.webhooks) rows.set(row.name, row);
  for (const name of answer.gone) rows.delete(name);
  cursor = answer.cursor;
  known.rows = rows;
  known.generation = answer.generation;
  const names = new Set([...answer.webhooks.map((row) => row.name), ...answer.gone]);
  if (first) for (const name of before.keys()) names.add(name);
  if (first || names.size) tell('rows', names);
  return another;
}

async function askConfig(signal) {
  const config = await get('config', {}, signal);
  if (known.fault === null && JSON.stringify(config) === JSON.stringify(known.config)) return;
  known.config = config;
  known.fault = null;
  tell('config', new Set());
}

/** Asks at once, after something that changed the configuration. */
export function lookAgain(signal) {
  return askConfig(signal);
}

/**
 * Calls `ask` for what a view shows: now, when the sidecar is back, and every so often while it gives true or fails; `failed`
 * hears of its errors. Gives two that ask again: `anew`, for another question, drops an answer that is still awaited; `later`
 * lets it come first.
 */
export function load(ask, failed, signal) {
  let run = new AbortController();
  let more = false;
  const anew = () => {
    run.abort();
    const mine = new AbortController();
    run = mine;
    follow(async (within) => {
      more = false;
      if (!await ask(within) && !more) mine.abort();
    }, CHANGES_MS, AbortSignal.any([signal, mine.signal]), (error) => {
      failed(error);
      if (error.status < 500) mine.abort();
      return !mine.signal.aborted;
    });
  };
  const later = () => {
    if (run.signal.aborted) anew();
    else more = true;
  };
  watch((what) => { if (what === 'back') anew(); }, signal);
  anew();
  return { anew, later };
}

/** Keeps everything up to date. `fine` is called after each answer, `failed` as `follow` says. */
export function keep(signal, fine, failed) {
  let lost = false;
  follow(async (within) => {
    const back = await askChanges(within) || lost;
    lost = false;
    fine();
    if (back) tell('back', new Set());
  }, CHANGES_MS, signal, (error, waitMs) => {
    lost = true;
    return failed(error, waitMs);
  });
  follow(askConfig, CONFIG_MS, signal, (error) => {
    known.fault = error;
    tell('config', new Set());
    return true;
  });
}
