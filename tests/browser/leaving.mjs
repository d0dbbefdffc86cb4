// What was asked on one view is over on the next: a question is closed with its view, a replay stops, and what came of a
// request is told wherever somebody is by then.

import { accessibility, answerOf, ask, assert, browse, eventually, go, granted, open, post } from './steps.mjs';

const dead = async () => (await (await ask('/api/v1/dead-letters?limit=1000')).json()).dead_letters.length;

/** Holds the requests of a path back until what it gives is called. */
async function holdBack(page, path) {
  let release;
  const letGo = new Promise((done) => { release = done; });
  let held = 0;
  await page.route(path, async (route) => { held += 1; await letGo; await route.continue(); });
  return { release, held: () => held };
}

await browse(async (browser) => {
  const page = await open(browser);
  const dialog = page.getByRole('dialog');
  const told = page.locator('#told');
  answerOf('tickets', 422, '{"error":"no"}');
  for (let at = 0; at < 3; at += 1) await post(granted(`AR-${at}`));
  await eventually('three dead letters', async () => await dead() === 3);

  // Back closes the question, and nothing is replayed.
  await go(page, '#/webhooks/tickets');
  await page.getByRole('link', { name: /^Dead letters/ }).click();
  await page.getByRole('button', { name: 'Replay all' }).click();
  await dialog.waitFor();
  await page.goBack();
  await dialog.waitFor({ state: 'detached' });
  assert.equal(await page.evaluate(() => document.activeElement.tagName), 'H1', 'the focus is on the view that is open');
  assert.equal(await dead(), 3);

  // A replay that runs does not go on behind another view, and says how far it came.
  await page.goForward();
  await page.locator('.letters tbody tr').first().waitFor();
  let steps = 0;
  let release;
  const letGo = new Promise((done) => { release = done; });
  await page.route('**/dead-letters/replay', async (route) => {
    steps += 1;
    await letGo;
    await route.fulfill({ json: { matched: 2, replayed: 2, missing: [], skipped: {}, cursor: '1.1.', run: null } });
  });
  await page.getByRole('button', { name: 'Replay all' }).click();
  await dialog.getByRole('button', { name: 'Replay' }).click();
  await eventually('it runs', () => steps === 1);
  await page.getByRole('link', { name: 'Configuration' }).click();
  await page.getByText('In force').waitFor();
  release();
  await told.getByText('tickets: 2 dead letters replayed. The others stay: their view was left.').waitFor();
  assert.equal(steps, 1);
  assert.match(await page.locator('#said').textContent(), /tickets: 2 dead letters replayed/);
  await page.unroute('**/dead-letters/replay');
  await told.getByRole('button', { name: 'Close' }).click();
  assert.equal(await told.textContent(), '');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');

  // A test and a resend are told, too.
  await go(page, '#/webhooks/quiet');
  const trial = await holdBack(page, '**/test');
  await page.getByRole('button', { name: 'Test', exact: true }).click();
  await eventually('it is under way', () => trial.held() === 1);
  await page.getByRole('link', { name: 'Configuration' }).click();
  trial.release();
  await told.getByText('quiet: Test successful.').waitFor();
  assert.match(page.url(), /#\/config$/);
  await told.getByRole('link', { name: 'See it' }).click();
  await page.locator('.verdict').getByText('Test successful').waitFor();

  const [failed] = (await (await ask('/api/v1/invocations?webhook=tickets')).json()).invocations;
  await go(page, `#/invocations/${failed.id}`);
  const resend = await holdBack(page, '**/resend');
  await page.getByRole('button', { name: 'Resend' }).click();
  await dialog.getByRole('button', { name: 'Resend' }).click();
  await eventually('it is under way', () => resend.held() === 1);
  await page.getByRole('link', { name: 'Configuration' }).click();
  resend.release();
  await told.getByText('tickets: It is pending again.').waitFor();
  assert.deepEqual(await accessibility(page), []);
});
