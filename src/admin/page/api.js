// The admin API. Every request goes to where the page came from.

import { span } from './format.js';

const TOKEN = 'outrigger-token';
// How long an answer may take. Test waits for its target: up to 10 minutes (the longest `timeout`) for each of two exchanges, and
// 10 s for each of two tokens.
const GET_MS = 15_000;
const POST_MS = 21 * 60_000;

/** What the API refused, in its own words. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `The answer was ${status}`);
    this.title = problem.title;
    this.status = status;
  }
}

/** The token that was given for this tab. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (text) => sessionStorage.setItem(TOKEN, text),
  forget: () => sessionStorage.removeItem(TOKEN),
};

async function ask(method, path, body, signal) {
  const headers = { accept: 'application/json' };
  if (token.get()) headers.authorization = `Bearer ${token.get()}`;
  if (method !== 'GET') {
    headers['outrigger-request'] = '1';
    headers['content-type'] = 'application/json';
  }
  const ms = method === 'GET' ? GET_MS : POST_MS;
  const limit = AbortSignal.timeout(ms);
  const request = { method, headers, signal: signal ? AbortSignal.any([signal, limit]) : limit, cache: 'no-store', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer' };
  if (method !== 'GET') request.body = JSON.stringify(body ?? {});
  let answer;
  let text;
  try {
    answer = await fetch(path, request);
    text = await answer.text();
  } catch (error) {
    throw error.name === 'TimeoutError' ? new Error(`No answer came in ${span(ms / 1000)}.`) : error;
  }
  if (answer.ok) return text;
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    // It is no answer of the API; its status has to do.
  }
  throw new Refused(answer.status, problem);
}

/** Parameters of a path; those that are empty are left out. */
function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return given.length ? `?${new URLSearchParams(given)}` : '';
}

/** Gets `path` under `/api/v1/`. */
export async function get(path, parameters = {}, signal = undefined) {
  return JSON.parse(await ask('GET', `api/v1/${path}${query(parameters)}`, undefined, signal));
}

/** The same, with every number as the digits that came: events may hold more than a double does. */
export async function getExactly(path, parameters = {}, signal = undefined) {
  const text = await ask('GET', `api/v1/${path}${query(parameters)}`, undefined, signal);
  let exact = null;
  return [JSON.parse(text), () => (exact ??= JSON.parse(text, digits))];
}

function digits(_name, value, context) {
  const changed = typeof value === 'number' && context?.source !== undefined && String(value) !== context.source;
  return changed && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
}

/** Posts to `path` under `/api/v1/`, or to one that begins with a slash. */
export async function post(path, body) {
  return JSON.parse(await ask('POST', path.startsWith('/') ? path.slice(1) : `api/v1/${path}`, body));
}
