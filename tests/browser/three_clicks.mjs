// Why did request AR-123 not reach Slack? Three clicks from the first screen, at most.

import { answerOf, ask, assert, browse, eventually, go, granted, open, post } from './steps.mjs';

await browse(async (browser) => {
  answerOf('tickets', 200, '{"ok":false,"error":"channel_not_found"}');
  await post(granted('AR-123'));
  await eventually('it is dead', async () => (await (await ask('/api/v1/dead-letters')).json()).dead_letters.length === 1);
  for (const width of [1440, 360]) {
    const page = await open(browser, { width });
    await go(page);
    let clicks = 0;
    const click = async (target) => { clicks += 1; await target.click(); };
    await click(page.getByRole('searchbox', { name: /Find an event/ }));
    await page.keyboard.type('AR-123');
    await click(page.getByRole('button', { name: 'Find' }));
    await click(page.getByRole('link', { name: /Attempt 1 failed: validation_failed/ }));
    await page.locator('.verdict').getByText('validation_failed').waitFor();
    assert.ok(clicks <= 3);
    // The reason, the validator with what it expected and found, the target's own words, and what to do.
    assert.match(await page.locator('.verdict').textContent(), /What to do next: ./);
    const validator = await page.locator('.validators .is-bad').textContent();
    assert.match(validator, /the ticket was taken.*true.*false/s);
    assert.match(await page.getByRole('region', { name: 'Body of the response' }).textContent(), /channel_not_found/);
    await page.context().close();
  }
});
