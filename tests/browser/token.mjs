// With a token the page asks for it, says when it is wrong, and keeps it for the tab alone.

import { assert, browse, open, rowOf, world } from './steps.mjs';

await browse(async (browser) => {
  const page = await open(browser);
  // What is asked with a wrong token is held until it is let go.
  let letGo;
  const held = new Promise((done) => { letGo = done; });
  await page.route('**/api/v1/changes*', async (route) => {
    if (route.request().headers().authorization === 'Bearer wrong') await held;
    await route.continue();
  });
  await page.goto(`${world.page}/#/webhooks/tickets`);
  const field = page.getByLabel('Token', { exact: true });
  const button = page.getByRole('button', { name: 'Open' });
  for (const text of ['tökén', 'a token', '\u202e', '€']) {
    await field.fill(text);
    await button.click();
    await page.getByText('That is no token').waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.length), 0, text);
  }
  await field.fill('wrong');
  const asked = page.waitForRequest(/\/changes/);
  await button.click();
  await asked;
  assert.deepEqual([await field.isDisabled(), await button.isDisabled()], [true, true], 'one token is tried at a time');
  // Nor does another address show anything before it is known.
  await page.evaluate(() => { location.hash = '#/config'; });
  await page.evaluate(() => { location.hash = '#/webhooks/tickets'; });
  assert.ok(await field.isVisible());
  letGo();
  await page.getByText('That is not the token in force.').waitFor();
  await field.fill(world.token);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'tickets' }).waitFor();
  await page.getByText('Live', { exact: true }).waitFor();
  assert.deepEqual(await page.evaluate(() => [Object.keys(localStorage).length, document.cookie]), [0, '']);
  await page.reload();
  await page.getByRole('heading', { name: 'tickets' }).waitFor();
  await page.getByRole('button', { name: 'Test', exact: true }).click();
  await page.locator('.verdict').getByText('Test successful').waitFor();
  // Another tab is asked again.
  const other = await page.context().newPage();
  await other.goto(`${world.page}/`);
  await other.getByLabel('Token', { exact: true }).waitFor();
  assert.equal(await rowOf(other, 'tickets').count(), 0);
});
