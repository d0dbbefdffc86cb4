// A bad edit of the configuration shows its diagnostic with file, line and caret, and what was in force stays so.

import { assert, browse, edit, go, heard, listen, open, rowOf } from './steps.mjs';

await browse(async (browser) => {
  const page = await open(browser);
  await go(page);
  const before = edit('tickets', (text) => text.replace('triggers =', 'trigers ='));
  // The first screen tells it, too.
  await page.locator('#config-mark').waitFor();
  assert.equal(await rowOf(page, 'tickets').getAttribute('data-state'), 'active');
  await page.getByRole('link', { name: 'Configuration' }).click();
  await page.getByText('refused: what was in force stays in force').waitFor();
  const fault = page.locator('.diagnostic.bad').first();
  await fault.getByText(/trigers/).first().waitFor();
  assert.match(await fault.textContent(), /webhooks\/tickets\.toml:2:1/);
  assert.match(await fault.locator('.code').textContent(), /2 \| trigers = .*\n +\| \^{7}/);
  assert.match(await fault.textContent(), /Fix: .*triggers/);
  // Its times are rewritten each second: only a result is said, and once.
  assert.equal(await page.locator('[aria-live] time, [role="status"] time, [role="alert"] time').count(), 0);
  const generation = page.locator('.facts div', { hasText: 'Generation' }).locator('dd');
  const old = await generation.textContent();
  await listen(page);
  await page.getByRole('button', { name: 'Reload now' }).click();
  await page.getByText('Refused: what was in force stays in force.', { exact: true }).waitFor();
  await page.locator('button:enabled', { hasText: 'Reload now' }).waitFor();

  await fault.locator('.code').focus();
  edit('tickets', () => before.replace('Tickets of granted requests', 'Another title'));
  await page.locator('.badge', { hasText: 'published' }).waitFor();
  await page.locator('#said').getByText('Last reload: published', { exact: true }).waitFor();
  assert.equal((await heard(page, 'refused')).length, 1, 'it is said once');
  assert.equal(await page.evaluate(() => document.activeElement.tagName), 'H1', 'what had the focus is gone, and nothing is near');
  assert.ok(await page.locator('#config-mark').isHidden());
  assert.equal(Number(await generation.textContent()), Number(old) + 1);
  await page.getByRole('link', { name: 'Webhooks' }).click();
  await rowOf(page, 'tickets').getByText('Another title').waitFor();

  // Where the configuration alone cannot be told, that is told, and over once it can.
  const fail = (detail) => page.route('**/api/v1/config', (route) => route.fulfill({ status: 503, json: { title: 'Too much', detail } }));
  await fail('It starts');
  await page.evaluate(() => { location.hash = '#/config'; });
  await page.reload();
  const trouble = page.getByRole('main').getByRole('alert');
  await trouble.getByText('It starts').waitFor();
  assert.equal(await page.getByText('Asking…').count(), 0);
  await page.unroute('**/api/v1/config');
  await page.getByText('In force').waitFor();
  await trouble.waitFor({ state: 'detached' });
  await fail('It is slow');
  await trouble.getByText('It is slow').waitFor();
  assert.ok(await page.getByText('In force').isVisible(), 'what is known stays');
});
