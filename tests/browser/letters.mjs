// Dead letters: one, those that are chosen, and all are replayed, each time after a question.

import { answerOf, ask, assert, browse, eventually, go, granted, open, post } from './steps.mjs';

const hasFocus = (locator) => locator.evaluate((element) => element === document.activeElement);

/** `over` comes when `end` is called. */
function held() {
  let end;
  const over = new Promise((done) => { end = done; });
  return { over, end };
}

await browse(async (browser) => {
  const page = await open(browser);
  answerOf('tickets', 422, '{"error":"no"}');
  for (let at = 0; at < 6; at += 1) await post(granted(`AR-${at}`));
  await go(page, '#/webhooks/tickets/dead-letters');
  const rows = page.locator('.letters tbody tr');
  const left = (count) => eventually(`${count} dead letters`, async () => (await rows.count()) === count);
  await left(6);
  await rows.first().getByText('client_error').waitFor();

  answerOf('tickets', 200, '{"ok":true}');
  const dialog = page.getByRole('dialog');
  await rows.first().getByRole('button', { name: /Replay/ }).click();
  await dialog.getByText(/1 delivery becomes pending again/).waitFor();
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  assert.equal(await rows.count(), 6);
  await rows.first().getByRole('button', { name: /Replay/ }).click();
  await dialog.getByRole('button', { name: 'Replay' }).click();
  await page.getByText('1 dead letter replayed.').waitFor();
  await left(5);
  assert.ok(await hasFocus(page.getByRole('button', { name: 'Replay all' })));

  assert.ok(await page.getByRole('button', { name: 'Replay chosen' }).isDisabled());
  await rows.nth(0).getByRole('checkbox').check();
  await rows.nth(2).getByRole('checkbox').check();
  await page.getByRole('button', { name: 'Replay chosen (2)' }).click();
  // Whoever goes elsewhere meanwhile stays there.
  const REPLAY = '**/dead-letters/replay';
  const replay = held();
  await page.route(REPLAY, async (route) => {
    await replay.over;
    await route.continue();
  }, { times: 1 });
  const begun = page.waitForRequest(REPLAY);
  await dialog.getByRole('button', { name: 'Replay' }).click();
  await begun;
  const field = page.locator('#find-text');
  await field.focus();
  replay.end();
  await page.getByText('2 dead letters replayed.').waitFor();
  await left(3);
  assert.ok(await hasFocus(field), 'the focus was taken away');

  await page.getByRole('button', { name: 'Replay all' }).click();
  await dialog.getByRole('button', { name: 'Replay' }).click();
  await page.getByText('3 dead letters replayed.').waitFor();
  await page.getByText('No dead letters: nothing was given up on.').waitFor();

  // One that comes while nobody reloads appears by itself.
  answerOf('tickets', 422);
  await post(granted('AR-9'));
  await left(1);

  // One that dies again is shown again, though nobody was told that it was none meanwhile.
  await page.locator('.tabs .count').getByText('1', { exact: true }).waitFor();
  const CHANGES = '**/changes?*';
  const told = held();
  await page.route(CHANGES, async (route) => {
    await told.over;
    await route.continue().catch(() => {});
  });
  answerOf('tickets', 503);
  await rows.first().getByRole('button', { name: /Replay/ }).click();
  await dialog.getByRole('button', { name: 'Replay' }).click();
  await left(0);
  answerOf('tickets', 422);
  await eventually('it died again', async () => (await (await ask('/api/v1/dead-letters')).json()).dead_letters.length === 1);
  told.end();
  await left(1);
  await page.unroute(CHANGES);

  // A change lets the answer that is awaited come, and then asks once more.
  const LIST = '**/dead-letters?*';
  const list = held();
  await page.route(LIST, async (route) => {
    const response = await route.fetch();
    await list.over;
    // It may have been let go meanwhile.
    await route.fulfill({ response }).catch(() => {});
  }, { times: 1 });
  const asked = page.waitForRequest(LIST);
  await post(granted('AR-20'));
  const request = await asked;
  const isIt = (one) => one === request;
  const ended = Promise.race([page.waitForEvent('requestfinished', isIt), page.waitForEvent('requestfailed', isIt)]);
  await post(granted('AR-21'));
  await page.locator('.tabs .count').getByText('3', { exact: true }).waitFor();
  list.end();
  await ended;
  assert.equal(request.failure(), null, 'an answer that was awaited was dropped');
  await left(3);

  // What is shown, chosen and has the focus stays so while others come and go.
  answerOf('tickets', 422);
  for (let at = 0; at < 128; at += 1) await post(granted(`AR-${100 + at}`));
  await eventually('131 dead letters', async () => (await (await ask('/api/v1/dead-letters?limit=1000')).json()).dead_letters.length === 131);
  await page.locator('.tabs .count').getByText('131').waitFor();
  await page.getByRole('button', { name: 'Show older' }).click();
  await left(131);
  assert.equal(await page.evaluate(() => [...document.querySelectorAll('.letters tbody tr')].indexOf(document.activeElement.closest('tr'))), 100);
  const oldest = rows.last();
  await oldest.getByRole('checkbox').check();
  await oldest.getByRole('link').focus();
  await post(granted('AR-10'));
  await left(132);
  assert.ok(await oldest.getByRole('checkbox').isChecked(), 'the choice is lost');
  assert.ok(await hasFocus(oldest.getByRole('link')), 'the focus is lost');
  const event = await oldest.getByRole('link').textContent();
  await oldest.getByRole('button', { name: /Replay/ }).click();
  await dialog.getByText(`Its event is ${event}.`).waitFor();
});
