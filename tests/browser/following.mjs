// Views follow what they show, come back by themselves after the sidecar was away, and keep what has the focus and what is open.

import { copyFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { answerOf, ask, assert, browse, edit, eventually, go, granted, open, post, world } from './steps.mjs';

/** How long the page may not ask for a story. */
const SELDOM_MS = 15_000;

/** More than is shown of a text at first. */
const LONG = 20_000;
const hasFocus = (locator) => locator.evaluate((element) => element === document.activeElement);

await browse(async (browser) => {
  const page = await open(browser);
  const API = '**/api/**';
  const away = async () => {
    await page.route(API, (route) => route.abort());
    await page.getByText(/Connection lost/).waitFor();
  };
  const back = () => page.unroute(API);
  const looked = () => page.waitForResponse((answer) => answer.url().includes('/changes?'));

  // A story goes on while something is pending; what is open and has the focus stays so.
  answerOf('chat', 503, 'away');
  const pending = await post(granted('AR-1', { amount: 'AMOUNT', note: 'x'.repeat(LONG) }, 'AccessRequestCreated'));
  await go(page, `#/find/${pending.id}`);
  const story = page.locator('.story');
  await story.locator('.line li.failed').nth(1).waitFor();
  const block = page.getByRole('region', { name: 'The event' });
  assert.equal(await page.locator('.story pre').count(), 0, 'what is folded away is made on opening');
  await story.getByText('The event', { exact: true }).click();
  await block.getByText(/"AR-1"/).waitFor();
  await story.getByRole('button', { name: /^Show all/ }).click();
  const steps = await story.locator('.line li').count();
  await story.locator('.line li').nth(steps).waitFor();
  assert.ok(await hasFocus(block), 'the focus was lost');
  assert.ok((await block.textContent()).length > LONG, 'what was shown is cut again');
  const why = story.locator('.verdicts').getByRole('link', { name: 'See why' });
  await why.focus();
  const last = await why.getAttribute('href');
  await eventually('another attempt', async () => (await why.getAttribute('href')) !== last);
  assert.ok(await hasFocus(why), 'the focus is on another link');
  await story.locator('.line a').first().focus();
  answerOf('chat', 200, '{"ok":true}');
  await story.locator('.verdicts').getByText('delivered').waitFor();
  assert.ok(await block.isVisible(), 'what was open is closed');
  assert.ok(await hasFocus(story.locator('.line a').first()));
  await page.locator('#said').getByText('1 event', { exact: true }).waitFor();

  // All steps of a long story are shown once they were asked for.
  let attempts = 210;
  await page.route('**/events?find=*', async (route) => {
    const found = await (await route.fetch()).json();
    const chat = found.events[0].webhooks.find((one) => one.webhook === 'chat');
    attempts += 1;
    chat.invocations = Array.from({ length: attempts }, () => chat.invocations[0]);
    chat.pending = { attempts, due: new Date().toISOString() };
    await route.fulfill({ json: found });
  });
  await go(page, '#/find/AR-1');
  await story.getByRole('button', { name: /^Show all \d+ steps/ }).click();
  const all = await story.locator('.line li').count();
  assert.ok(all > 210);
  await story.locator('.line li').nth(all).waitFor();
  assert.ok(await story.locator('.line').evaluate((line) => line.contains(document.activeElement)), 'the focus was lost');
  await page.unrouteAll({ behavior: 'wait' });

  // A view that was opened while the sidecar was away shows what it is for once that is back.
  answerOf('tickets', 422);
  await post(granted('AR-2'));
  const [failed] = await eventually('it failed', async () => {
    const { invocations } = await (await ask('/api/v1/invocations?webhook=tickets')).json();
    return invocations.length > 0 && invocations;
  });
  await away();
  for (const [hash, shown] of [
    ['#/find/AR-2', page.locator('.verdicts')], [`#/invocations/${failed.id}`, page.locator('.verdict')],
    ['#/webhooks/tickets/dead-letters', page.locator('.letters tbody tr')], ['#/webhooks/tickets/definition', page.locator('.content .code')],
  ]) {
    await page.evaluate((to) => { location.hash = to; }, hash);
    const fault = page.getByRole('main').getByRole('alert');
    await fault.first().waitFor();
    await back();
    await shown.first().waitFor();
    await page.getByText('Live', { exact: true }).waitFor();
    await fault.first().waitFor({ state: 'detached' });
    await away();
  }
  await back();

  // Of two samples the one that is chosen is shown, whichever comes first.
  await go(page, '#/webhooks/tickets/sample');
  const choice = page.getByLabel('Sample', { exact: true });
  const [first, second] = await choice.locator('option:not(:checked)').evaluateAll((all) => all.map((one) => one.value));
  let release;
  const letGo = new Promise((done) => { release = done; });
  await page.route(`**/webhooks/tickets?sample=${first}`, async (route) => {
    await letGo;
    // It may have been let go meanwhile.
    await route.continue().catch(() => {});
  });
  const isFirst = (request) => request.url().endsWith(`sample=${first}`);
  const asked = page.waitForRequest(isFirst);
  const ended = Promise.race([page.waitForEvent('requestfinished', isFirst), page.waitForEvent('requestfailed', isFirst)]);
  await choice.focus();
  await choice.selectOption(first);
  await asked;
  const other = page.waitForResponse((answer) => answer.url().endsWith(`sample=${second}`));
  await choice.selectOption(second);
  await (await other).finished();
  release();
  await ended;
  await looked();
  assert.equal(await choice.inputValue(), second);
  assert.match(await page.locator('.content').textContent(), new RegExp(second));
  assert.ok(await hasFocus(choice), 'the focus is on the choice');

  // An edit is shown with the sample that is chosen.
  const content = page.locator('.content');
  const asItWas = edit('tickets', (text) => text.replace('{{data.friendly_id}} for', '{{data.friendly_id}} asked by'));
  await content.getByText('asked by').first().waitFor();
  assert.equal(await choice.inputValue(), second);
  assert.ok(await hasFocus(choice), 'the focus is on the choice');
  edit('tickets', () => asItWas);
  await content.getByText('asked by').first().waitFor({ state: 'detached' });

  // A sample of a webhook that comes into being later.
  await go(page, '#/webhooks/later/sample');
  await page.getByRole('main').getByRole('alert').waitFor();
  const fileOf = (name) => join(world.config, 'webhooks', name);
  copyFileSync(fileOf('audit.toml'), fileOf('later.toml.fresh'));
  renameSync(fileOf('later.toml.fresh'), fileOf('later.toml'));
  await choice.waitFor();

  // With another kind it has other samples, to look at and to test with.
  const gone = await choice.inputValue();
  edit('later', (text) => `kind = 'integration'\n${text.replace(/triggers.*\n/, '')}`);
  await eventually('another sample is chosen', async () => (await choice.inputValue()) !== gone);
  assert.equal(await page.getByLabel('Event', { exact: true }).inputValue(), await choice.inputValue());
  assert.equal(await page.getByRole('main').getByRole('alert').count(), 0);

  // What waits for long is asked after seldom, and at once when something becomes of it.
  answerOf('tickets', 401);
  await post(granted('AR-5'));
  await eventually('it is paused', async () => (await (await ask('/api/v1/webhooks/tickets')).json()).state === 'paused');
  await go(page, '#/find/AR-5');
  await page.locator('.verdicts').getByText('pending').waitFor();
  await looked();
  let stories = 0;
  const counted = (request) => { if (request.url().includes('/events?find=')) stories += 1; };
  page.on('request', counted);
  for (let looks = 0; looks < 6; looks += 1) await looked();
  page.off('request', counted);
  assert.ok(stories <= 2, `the story was asked for ${stories} times`);
  answerOf('tickets', 200, '{"ok":true}');
  assert.equal((await ask('/api/v1/webhooks/tickets/resume', { method: 'POST' })).status, 200);
  await page.locator('.verdicts').getByText('delivered').waitFor({ timeout: SELDOM_MS / 2 });

  // Numbers change around a link that has the focus; it stays the same one.
  await go(page, '#/webhooks/tickets');
  const failure = page.locator('.overview').getByRole('link', { name: /ago|now/ });
  await failure.waitFor();
  await failure.focus();
  await failure.evaluate((link) => { globalThis.before = link; });
  const accepted = page.locator('.overview .chart-sum');
  const words = await accepted.textContent();
  answerOf('tickets', 200, '{"ok":true}');
  await post(granted('AR-3'));
  await eventually('the numbers change', async () => (await accepted.textContent()) !== words);
  assert.ok(await hasFocus(failure), 'the focus was lost');
  assert.ok(await failure.evaluate((link) => link === globalThis.before), 'it was made anew');
  answerOf('tickets', 422);
  const address = await failure.getAttribute('href');
  await post(granted('AR-4'));
  await eventually('another failed', async () => (await failure.getAttribute('href')) !== address);
  assert.ok(await hasFocus(failure), 'the focus is on what stands in its place');
});
