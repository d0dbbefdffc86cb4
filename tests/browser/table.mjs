// The table is right and live; a target that fails turns its row red and shows its reason.

import { answerOf, assert, browse, cell, eventually, go, granted, open, post, rowOf } from './steps.mjs';

await browse(async (browser) => {
  const page = await open(browser);
  await go(page);
  const names = await page.locator('tr[data-webhook] .name').allTextContents();
  assert.deepEqual(names, ['audit', 'chat', 'quiet', 'tickets']);
  const tickets = rowOf(page, 'tickets');
  assert.equal(await cell(tickets, 'State').textContent(), 'active');
  assert.match(await tickets.locator('th').textContent(), /Tickets of granted requests.*request · AccessRequestGranted/s);
  assert.match(await cell(tickets, 'Target').textContent(), /^127\.0\.0\.1/);
  assert.equal(await cell(tickets, 'Pending').textContent(), '0');
  assert.equal(await cell(tickets, 'Last success').textContent(), 'none yet');
  assert.equal(await rowOf(page, 'quiet').getAttribute('data-state'), 'inactive');
  const charts = await page.locator('.chart').count();
  assert.equal(charts, names.length);

  // Nothing is reloaded: what happens appears by itself.
  await post(granted('AR-1'));
  await cell(tickets, 'Last 60 minutes').getByText('1 delivered').waitFor();
  await cell(tickets, 'Last success').getByText(/now|ago/).waitFor();
  await cell(tickets, 'p99').getByText(/ms/).waitFor();
  assert.match(await cell(tickets, 'Last 60 minutes').locator('.chart').getAttribute('aria-label'), /1 delivered, 0 failed/);

  answerOf('chat', 503, 'away');
  await post(granted('AR-2', {}, 'AccessRequestCreated'));
  const chat = rowOf(page, 'chat');
  await cell(chat, 'State').getByText('failing: server_error').waitFor();
  assert.equal(await chat.getAttribute('data-state'), 'failing');
  const red = await chat.evaluate((row) => getComputedStyle(row).backgroundColor.match(/\d+/g).map(Number));
  assert.ok(red[0] > red[1] + 8 && red[0] > red[2] + 8, `the row is ${red}`);
  await cell(chat, 'Pending').getByText('1', { exact: true }).waitFor();
  await cell(chat, 'Pending').getByText(/oldest \d+ s/).waitFor();
  await cell(chat, 'Last 60 minutes').getByText(/failed/).waitFor();
  // The other rows stay as they are.
  assert.equal(await tickets.getAttribute('data-state'), 'active');
  await cell(chat, 'State').getByRole('link', { name: 'see why' }).click();
  await page.getByText('Failed: server_error').waitFor();

  // A fault of the target pauses the webhook.
  await page.getByRole('link', { name: 'Webhooks' }).first().click();
  answerOf('audit', 401, 'who are you');
  await post(granted('AR-3', {}, 'AccessRequestRejected'));
  const audit = rowOf(page, 'audit');
  await cell(audit, 'State').getByText('paused: auth_error').waitFor();
  await cell(audit, 'State').getByText(/next probe/).waitFor();

  // And it heals.
  answerOf('chat', 200, '{"ok":true}');
  await eventually('chat is active again', async () => (await chat.getAttribute('data-state')) === 'active');

  // What needs a look, and names.
  await page.getByRole('button', { name: 'Only what needs a look' }).click();
  assert.deepEqual(await page.locator('tr[data-webhook] .name').allTextContents(), ['audit']);
  await page.getByRole('button', { name: 'Only what needs a look' }).click();
  await page.getByLabel('Name').fill('tick');
  assert.deepEqual(await page.locator('tr[data-webhook] .name').allTextContents(), ['tickets']);

  // A lost connection is told and taken up again; requests do not pile up meanwhile.
  let [running, most] = [0, 0];
  await page.route('**/api/v1/changes*', async (route) => {
    running += 1;
    most = Math.max(most, running);
    await new Promise((done) => setTimeout(done, 1500));
    running -= 1;
    await route.abort();
  });
  await page.getByText(/Connection lost, trying again/).waitFor();
  await page.waitForTimeout(2500);
  assert.equal(most, 1);
  await page.unroute('**/api/v1/changes*');
  await page.getByText('Live', { exact: true }).waitFor();
});
