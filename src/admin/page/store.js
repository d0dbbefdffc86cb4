// What the whole page knows: the rows of all webhooks, kept up to date by the cursor, and what became of the last reload.

import { get } from './api.js';
import { follow } from './live.js';

const CHANGES_MS = 1000;
const CONFIG_MS = 3000;

/** `rows` by name, `config` as the API tells it; both null until they are known. */
export const known = { rows: null, generation: null, config: null };

const listeners = new Set();
let cursor = null;

/** Calls `listener(what, names)` with `what` of `rows` or `config` whenever something changed, until `signal` ends it. */
export function watch(listener, signal) {
  listeners.add(listener);
  signal.addEventListener('abort', () => listeners.delete(listener));
}

function tell(what, names) {
  for (const listener of [...listeners]) listener(what, names);
}

async function askChanges(signal) {
  const answer = await get('changes', { cursor }, signal);
  const first = known.rows === null || answer.reset;
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
}

async function askConfig(signal) {
  const config = await get('config', {}, signal);
  if (JSON.stringify(config) === JSON.stringify(known.config)) return;
  known.config = config;
  tell('config', new Set());
}

/** Asks at once, after something that changed the configuration. */
export function lookAgain(signal) {
  return askConfig(signal);
}

/** Keeps everything up to date. `fine` is called after each answer, `failed` as `follow` says. */
export function keep(signal, fine, failed) {
  follow(async (within) => { await askChanges(within); fine(); }, CHANGES_MS, signal, failed);
  follow(askConfig, CONFIG_MS, signal, () => true);
}
