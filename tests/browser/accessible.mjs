// axe-core finds nothing serious on any view, in both themes, at 360 and 1440 pixels; no view is wider than its window.

import { accessibility, answerOf, ask, assert, browse, edit, eventually, go, granted, open, post, settled } from './steps.mjs';

await browse(async (browser) => {
  answerOf('chat', 503, 'away');
  answerOf('audit', 401);
  await post(granted('AR-1'));
  answerOf('tickets', 200, '{"ok":false}');
  await eventually('it was delivered', async () => (await (await ask('/api/v1/invocations?outcome=accepted')).json()).invocations.length);
  await post(granted('AR-2', { justification: '\u202eturned' }));
  await post(granted('AR-3', {}, 'AccessRequestCreated'));
  await post(granted('AR-4', {}, 'AccessRequestRejected'));
  const failed = await eventually('three failed', async () => {
    const list = (await (await ask('/api/v1/invocations?outcome=failed')).json()).invocations;
    return new Set(list.map((one) => one.webhook)).size === 3 && list;
  });
  edit('quiet', (text) => text.replace('status', 'state'));
  const bad = failed.find((one) => one.webhook === 'tickets').id;
  const views = [
    '#/', '#/webhooks/tickets', '#/webhooks/audit', '#/webhooks/tickets/dead-letters', '#/webhooks/quiet/dead-letters', '#/webhooks/tickets/definition',
    '#/webhooks/tickets/sample', '#/webhooks/tickets/schema', '#/webhooks/nobody', `#/invocations/${bad}`, '#/invocations/inv_ffffffffffffffff',
    '#/find/AR-2', '#/find/nothing', '#/config',
  ];
  let looked = 0;
  for (const theme of ['light', 'dark']) {
    for (const width of [360, 1440]) {
      const page = await open(browser, { width, theme });
      await go(page);
      await page.locator('#config-mark').waitFor();
      for (const view of views) {
        await page.evaluate((hash) => { location.hash = hash; }, view);
        await page.waitForTimeout(300);
        await settled(page);
        const where = `${view}, ${theme}, ${width} px`;
        assert.deepEqual(await accessibility(page), [], where);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${where} is wider than its window by ${wide}`);
        const [headings, title] = await page.evaluate(() => [document.querySelectorAll('h1').length, document.title]);
        assert.equal(headings, 1, where);
        assert.match(title, /. · Outrigger$/, where);
        looked += 1;
      }
      // A question that waits for its answer.
      await page.evaluate(() => { location.hash = '#/webhooks/tickets/dead-letters'; });
      await page.getByRole('button', { name: 'Replay all' }).click();
      await page.getByRole('dialog').waitFor();
      assert.deepEqual(await accessibility(page), [], `a dialog, ${theme}, ${width} px`);
      await page.context().close();
    }
  }
  assert.equal(looked, 4 * views.length);
});
