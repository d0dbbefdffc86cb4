// All of it without a mouse: skip link, find, a failed attempt, a replay with its question. What has the focus is seen.

import { answerOf, ask, assert, browse, eventually, go, granted, open, post } from './steps.mjs';

await browse(async (browser) => {
  answerOf('tickets', 422);
  await post(granted('AR-123'));
  await eventually('a dead letter', async () => (await (await ask('/api/v1/dead-letters')).json()).dead_letters.length === 1);
  const page = await open(browser);
  await go(page);
  const focused = () => page.evaluate(() => {
    const element = document.activeElement;
    const style = getComputedStyle(element);
    return { text: element.ariaLabel || element.innerText || element.id, tag: element.tagName, seen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 };
  });
  const tab = async (wanted, most = 60) => {
    for (let at = 0; at < most; at += 1) {
      await page.keyboard.press('Tab');
      const now = await focused();
      assert.ok(now.seen || now.tag === 'BODY', `the focus on ${JSON.stringify(now)} is not seen`);
      if (wanted.test(now.text)) return now;
    }
    throw new Error(`Tab never came to ${wanted}`);
  };
  await tab(/Skip to content/, 1);
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  await tab(/^name$/);
  await tab(/Only what needs a look/);
  await page.keyboard.press('Space');
  assert.equal(await page.locator('tr[data-webhook]').count(), 1);
  await page.keyboard.press('Space');

  // Find: from the top again.
  await page.evaluate(() => document.activeElement.blur());
  await page.locator('#skip').focus();
  await tab(/^find-text$/);
  await page.keyboard.type('AR-123');
  await page.keyboard.press('Enter');
  await page.locator('.line').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.tagName), 'H1', 'a new view has the focus on its heading');
  await tab(/Attempt 1 failed/);
  await page.keyboard.press('Enter');
  await page.locator('.verdict').getByText('client_error').waitFor();
  await page.keyboard.press('Alt+ArrowLeft');
  await page.locator('.line').waitFor();

  await go(page, '#/webhooks/tickets/dead-letters');
  await page.locator('.letters tbody tr').waitFor();
  answerOf('tickets', 200, '{"ok":true}');
  await tab(/Replay all/);
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog');
  await dialog.waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  assert.equal((await focused()).text, 'Replay all', 'the focus is back where it was');
  await page.keyboard.press('Enter');
  await dialog.waitFor();
  for (let at = 0; at < 3; at += 1) {
    await page.keyboard.press('Tab');
    const now = await focused();
    if (now.text === 'Replay') break;
    assert.ok(['Cancel', 'Replay'].includes(now.text) || now.tag === 'BODY', `the focus left the dialog: ${now.text}`);
  }
  await page.keyboard.press('Enter');
  await page.getByText('1 dead letter replayed.').waitFor();
  await page.getByText('No dead letters').waitFor();
});
