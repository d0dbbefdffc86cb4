// A bad edit of the configuration shows its diagnostic with file, line and caret, and what was in force stays so.

import { assert, browse, edit, go, open, rowOf } from './steps.mjs';

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
  const generation = page.locator('.facts div', { hasText: 'Generation' }).locator('dd');
  const old = await generation.textContent();
  await page.getByRole('button', { name: 'Reload now' }).click();
  await page.getByText('Refused: what was in force stays in force.', { exact: true }).waitFor();

  edit('tickets', () => before.replace('Tickets of granted requests', 'Another title'));
  await page.locator('.badge', { hasText: 'published' }).waitFor();
  assert.ok(await page.locator('#config-mark').isHidden());
  assert.equal(Number(await generation.textContent()), Number(old) + 1);
  await page.getByRole('link', { name: 'Webhooks' }).click();
  await rowOf(page, 'tickets').getByText('Another title').waitFor();
});
