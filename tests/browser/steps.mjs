// The language of the browser tests: a real Chromium, the page of a real sidecar, and the targets' answers as files.
//
// Run by tests/browser.rs as `node tests/browser/<script>.mjs WORLD`, WORLD being JSON: `page`, `ingest` and `config` (addresses
// and a folder), `answers` (a folder: `<target>` holds a status, a line break and a body), `token`, `pid` (the sidecar's) and
// `canaries`.

import { readFileSync, renameSync, writeFileSync, existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { strict as assert } from 'node:assert';

export { assert };
export const world = JSON.parse(process.argv[2] ?? '{}');

const need = createRequire(join(process.env.OUTRIGGER_TEST_BROWSER, 'package.json'));
const { chromium } = need('playwright-core');
const axe = readFileSync(need.resolve('axe-core/axe.min.js'), 'utf8');

/** How long anything may take: far more than it does. */
export const PATIENCE_MS = 20_000;

function program() {
  const folders = process.env.PATH.split(delimiter);
  const found = ['chromium', 'chromium-browser', 'google-chrome'].flatMap((name) => folders.map((folder) => join(folder, name))).find(existsSync);
  if (!found) throw new Error('chromium is not in PATH: run tests/all');
  return found;
}

/** What the browser said against the page: faults of scripts, refusals of the policy. Empty at the end of every test. */
export const complaints = [];

/** Does `walk` with a browser. */
export async function browse(walk) {
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  const browser = await chromium.launch({ executablePath: program(), args });
  try {
    await walk(browser);
    assert.deepEqual(complaints, [], 'the browser complained');
  } finally {
    await browser.close();
  }
}

/** A window of this width and theme. */
export async function open(browser, { width = 1440, theme = 'light', ...more } = {}) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: theme, permissions: ['clipboard-read', 'clipboard-write'], ...more });
  await context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.on('pageerror', (error) => complaints.push(`fault: ${error.stack}`));
  page.on('console', (message) => {
    if (/^policy:|content security policy|trusted/i.test(message.text())) complaints.push(message.text());
  });
  page.on('dialog', (dialog) => { complaints.push(`a dialog of the browser: ${dialog.message()}`); dialog.dismiss(); });
  return page;
}

/** Opens an address of the page and waits until it is live. */
export async function go(page, hash = '#/') {
  await page.goto(`${world.page}/${hash}`);
  await page.getByText('Live', { exact: true }).waitFor();
}

/** Posts an event and gives its id. */
export async function post(event, path = '/v1/events') {
  const answer = await fetch(`${world.ingest}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(event) });
  assert.equal(answer.status, 202, await answer.clone().text());
  return (await answer.json()).events[0];
}

/** An access request that was granted. */
export function granted(friendlyId, data = {}, type = 'AccessRequestGranted') {
  return {
    event_type: type, event_time: '1696263447.730250120',
    data: {
      id: `id-of-${friendlyId}`, friendly_id: friendlyId, justification: 'the orders are stuck',
      requester: { id: 'u-1', name: 'Ana Ruiz', email: 'ana.ruiz@example.com' }, ...data,
    },
  };
}

/** What a target answers from now on. */
export function answerOf(target, status, body = '') {
  writeFileSync(join(world.answers, 'fresh'), `${status}\n${body}`);
  renameSync(join(world.answers, 'fresh'), join(world.answers, target));
}

/** Edits a webhook's file as an editor does; gives what it held. */
export function edit(name, change) {
  const path = join(world.config, 'webhooks', `${name}.toml`);
  const before = readFileSync(path, 'utf8');
  const after = change(before);
  assert.notEqual(after, before, 'the edit changes nothing');
  writeFileSync(`${path}.fresh`, after);
  renameSync(`${path}.fresh`, path);
  return before;
}

/** Asks the API as a program does. */
export async function ask(path, options = {}) {
  const headers = { 'outrigger-request': '1', ...(world.token ? { authorization: `Bearer ${world.token}` } : {}), ...options.headers };
  return fetch(`${world.page}${path}`, { ...options, headers });
}

/** Looks until `look` gives something. */
export async function eventually(what, look) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    assert.ok(Date.now() < end, `never: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** The row of a webhook on the first screen. */
export function rowOf(page, name) {
  return page.locator(`tr[data-webhook="${name}"]`);
}

/** The cell of a row by its column's name. */
export function cell(row, column) {
  return row.locator(`[data-label="${column}"]`);
}

/** What axe-core finds that is serious, as texts. */
export async function accessibility(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  assert.ok(found.passes.length > 15, `axe-core looked at nothing: ${found.passes.length}`);
  return found.violations
    .filter((one) => ['serious', 'critical'].includes(one.impact))
    .map((one) => `${one.id}: ${one.nodes.map((node) => `${node.target.join(' ')}: ${node.failureSummary}`).join('; ')}`);
}

/** Notes what is put into live regions from now on. */
export function listen(page) {
  return page.evaluate(() => {
    globalThis.heard = [];
    new MutationObserver((changes) => {
      for (const { target, addedNodes } of changes) {
        if (target.closest('[aria-live], [role="status"], [role="alert"]')) globalThis.heard.push(...[...addedNodes].map((node) => node.textContent));
      }
    }).observe(document.body, { childList: true, subtree: true });
  });
}

/** What was put into live regions and has these words. */
export function heard(page, words) {
  return page.evaluate((of) => globalThis.heard.filter((text) => text.toLowerCase().includes(of)), words);
}

/** Waits until the page asked for something and showed what came. */
export async function settled(page) {
  await page.waitForFunction(() => !document.querySelector('.loading'));
  await page.waitForTimeout(100);
}
