// The list of invocations: none is lost between what is shown and older ones, an answer to another question is dropped, and
// what went wrong stays where it belongs until it is over.

import { answerOf, ask, assert, browse, eventually, go, granted, open, post } from './steps.mjs';

let posted = 0;

/** Posts so many events, each of which fails at once, and waits until that is recorded. */
async function fail(number) {
  for (let at = 0; at < number; at += 1) await post(granted(`AR-${posted + at}`, {}, 'AccessRequestCreated'));
  posted += number;
  await eventually(`${posted} invocations`, async () => (await kept()).length === posted);
}

async function kept() {
  return (await (await ask('/api/v1/invocations?webhook=chat&limit=500')).json()).invocations.map((one) => one.id);
}

await browse(async (browser) => {
  const page = await open(browser);
  const rows = page.locator('.invocations tbody tr');
  const older = page.getByRole('button', { name: 'Show older' });
  const looked = () => page.waitForResponse((answer) => answer.url().includes('/invocations?') && !answer.url().includes('cursor='));
  const shown = (number) => eventually(`${number} rows`, async () => (await rows.count()) === number);
  const ids = () => rows.evaluateAll((all) => all.map((row) => row.dataset.id));

  // What is said where nothing is stays one element: the focus is not lost.
  await go(page, '#/webhooks/audit');
  await page.locator('.empty pre').focus();
  await looked();
  await looked();
  assert.equal(await page.evaluate(() => document.activeElement.tagName), 'PRE', 'the focus was lost');

  // Rows that are left out at the end come by the button.
  answerOf('chat', 422, 'no');
  await fail(60);
  await go(page, '#/webhooks/chat');
  await shown(50);
  await fail(160);
  await eventually('the newest is shown', async () => (await ids())[0] === (await kept())[0]);
  await shown(200);
  await older.click();
  await shown(220);
  assert.deepEqual(await ids(), await kept());
  assert.ok(await older.isHidden());

  // And so do those in the middle, where more came than one answer holds.
  await page.getByRole('button', { name: 'Hold the list' }).click();
  await fail(210);
  await page.getByRole('button', { name: 'Hold the list' }).click();
  await shown(200);
  for (const number of [250, 300, 350, 400, 430]) {
    await older.click();
    await shown(number);
  }
  assert.deepEqual(await ids(), await kept());

  // What was asked before the filter changed is not shown after it.
  await go(page, '#/webhooks/audit');
  await go(page, '#/webhooks/chat');
  await shown(50);
  let release;
  const letGo = new Promise((done) => { release = done; });
  await page.route('**/invocations?*cursor=*', async (route) => { await letGo; await route.continue(); });
  const late = page.waitForResponse((answer) => answer.url().includes('cursor='));
  await older.click();
  await page.getByLabel('Outcome').selectOption('accepted');
  await page.getByText('No accepted invocation is kept.').waitFor();
  release();
  await (await late).finished();
  await looked();
  assert.equal(await rows.count(), 0, 'an answer for another filter is shown');
  await page.unroute('**/invocations?*cursor=*');
  await page.getByLabel('Outcome').selectOption('failed');
  await shown(50);

  // A fault of the button outlives the looks that go well; one of the looks is told where rows are shown.
  await page.route('**/invocations?*cursor=*', (route) => route.fulfill({ status: 503, json: { title: 'Too much', detail: 'The disk is slow' } }));
  await older.click();
  const fault = page.getByRole('alert');
  await fault.getByText('The disk is slow').waitFor();
  await looked();
  await looked();
  assert.equal(await fault.count(), 1, 'the fault is gone');
  await page.unroute('**/invocations?*cursor=*');
  await older.click();
  await shown(100);
  assert.equal(await fault.count(), 0);
  await page.route('**/invocations?*after=*', (route) => route.fulfill({ status: 503, json: { title: 'Too much', detail: 'It starts' } }));
  await fault.getByText('It starts').waitFor();
  await page.unroute('**/invocations?*after=*');
  await fault.waitFor({ state: 'detached' });

  // A list that is held shows what another filter finds, even if that could not be asked for at once.
  await page.getByRole('button', { name: 'Hold the list' }).click();
  await page.route('**/invocations?*', (route) => route.fulfill({ status: 503, json: { title: 'Too much', detail: 'It starts' } }));
  await page.getByLabel('Outcome').selectOption('accepted');
  await fault.getByText('It starts').waitFor();
  assert.equal(await rows.count(), 0, 'what another filter found is shown');
  await page.unroute('**/invocations?*');
  await page.getByText('No accepted invocation is kept.').waitFor();
  await fault.waitFor({ state: 'detached' });
});
