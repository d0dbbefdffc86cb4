// With a token the page asks for it, says when it is wrong, and keeps it for the tab alone.

import { assert, browse, open, rowOf, world } from './steps.mjs';

await browse(async (browser) => {
  const page = await open(browser);
  await page.goto(`${world.page}/#/webhooks/tickets`);
  const field = page.getByLabel('Token', { exact: true });
  await field.fill('wrong');
  await page.getByRole('button', { name: 'Open' }).click();
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
