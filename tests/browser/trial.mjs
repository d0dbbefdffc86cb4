// Test succeeds and fails, and opens its invocation either way.

import { answerOf, assert, browse, go, heard, listen, open } from './steps.mjs';

await browse(async (browser) => {
  const page = await open(browser);
  await go(page, '#/webhooks/tickets');
  await listen(page);
  await page.getByLabel('Event', { exact: true }).selectOption('RequestGranted');
  await page.getByRole('button', { name: 'Test', exact: true }).click();
  await page.locator('.verdict').getByText('Test successful').waitFor();
  assert.match(page.url(), /#\/invocations\/inv_[0-9a-f]{16}$/);
  await page.getByText('Outrigger test').first().waitFor();
  await page.getByText('outrigger-test').first().waitFor();
  assert.equal(await page.getByRole('button', { name: 'Resend' }).count(), 0);
  await page.goBack();
  await page.locator('.invocations tbody tr a').first().click();
  await page.locator('.verdict').getByText('Test successful').waitFor();
  assert.equal((await heard(page, 'test successful')).length, 1, 'it is said once');

  answerOf('tickets', 200, '{"ok":false,"error":"unknown queue"}');
  await page.getByRole('link', { name: 'tickets' }).click();
  await page.getByRole('button', { name: 'Test', exact: true }).click();
  await page.locator('.verdict').getByText('Test failed').waitFor();
  await page.locator('.verdict').getByText('validation_failed').waitFor();

  // An inactive webhook is tested as well; its invocations say which were tests.
  await go(page, '#/webhooks/quiet');
  await page.getByRole('button', { name: 'Test', exact: true }).click();
  await page.locator('.verdict').getByText('Test successful').waitFor();
  await page.getByRole('link', { name: 'quiet' }).click();
  await page.locator('.invocations tbody tr').getByText('test', { exact: true }).waitFor();
});
