// View Invocation Data: the validator that failed with expected and found, both sides, the time, and what to do next.

import { answerOf, assert, browse, go, granted, open, post, world } from './steps.mjs';

await browse(async (browser) => {
  const page = await open(browser);
  answerOf('tickets', 200, '{"ok":false,"error":"unknown queue","number":12345678901234567890.10}');
  await post(granted('AR-7', { amount: 'AMOUNT' }));
  await go(page, '#/webhooks/tickets');
  await page.locator('.invocations tbody tr a').first().click();
  await page.locator('.verdict').getByText('validation_failed').waitFor();
  await page.getByText('What to do next').waitFor();

  const failed = page.locator('.validators tbody tr', { hasText: 'the ticket was taken' });
  assert.equal(await failed.locator('[data-label="Verdict"]').textContent(), 'failed');
  assert.match(await failed.locator('[data-label="Expected"]').textContent(), /true/);
  assert.match(await failed.locator('[data-label="Found"]').textContent(), /false/);
  const passed = page.locator('.validators tbody tr', { hasText: 'not busy' });
  assert.equal(await passed.locator('[data-label="Verdict"]').textContent(), 'passed');

  const [request, response] = [page.getByRole('region', { name: 'Body of the request' }), page.getByRole('region', { name: 'Body of the response' })];
  assert.match(await request.textContent(), /\{\n {2}"summary": "AR-7 for Ana Ruiz"/);
  assert.match(await response.textContent(), /\n {2}"number": 12345678901234567890\.10\n/, 'a number keeps its digits');
  assert.ok((await page.locator('.timing-bar rect').count()) >= 2);
  assert.match(await page.locator('.timing-bar').getAttribute('aria-label'), /m?s in all: rendering/);

  // On one line with its neighbour, not below it.
  const boxes = await Promise.all([request, response].map((one) => one.boundingBox()));
  assert.ok(boxes[1].x > boxes[0].x + boxes[0].width, 'side by side');

  await page.getByRole('button', { name: 'Copy as curl' }).click();
  await page.getByRole('button', { name: 'Copied' }).waitFor();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(command, /^: 'Secrets are not shown: set .*SECRET_AUTHORIZATION/);
  assert.match(command, /curl --globoff --request 'POST' --url 'https:\/\/127\.0\.0\.1:\d+\//);
  assert.match(command, /--data-raw '/);
  for (const canary of world.canaries) assert.ok(!command.includes(canary), command);

  // Resend: the same delivery, once more, as soon as the target takes it.
  answerOf('tickets', 200, '{"ok":true}');
  const delivery = await page.locator('.facts div', { hasText: 'Delivery' }).locator('dd').textContent();
  await page.getByRole('button', { name: 'Resend' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Resend' }).click();
  await page.getByText('It is pending again.').waitFor();
  await page.getByRole('link', { name: 'See what becomes of it' }).click();
  await page.locator('.verdicts tr', { hasText: 'tickets' }).getByText('delivered').waitFor();
  await page.locator('.line').getByText(/accepted/).click();
  await page.locator('.verdict').getByText('Accepted').waitFor();
  assert.equal(await page.locator('.facts div', { hasText: 'Delivery' }).locator('dd').textContent(), delivery);

  await go(page, '#/invocations/inv_ffffffffffffffff');
  await page.getByText('This invocation is not kept any more').waitFor();
});
