// An event that means harm does none: it is text, its marks are seen, and a megabyte of it is bounded.

import { answerOf, assert, browse, go, granted, open, post, settled } from './steps.mjs';

const SCRIPT = '<script>globalThis.harmed = 1</script><img src="x" onerror="globalThis.harmed = 2"><a href="javascript:harmed=3">x</a>';
const TURNED = '\u202egnp.exe\u202c \u2066\u200f\u0007\u001b]0;x\u0007';

await browse(async (browser) => {
  const page = await open(browser);
  answerOf('tickets', 422, JSON.stringify({ error: SCRIPT + TURNED, big: 'z'.repeat(60_000) }));
  const id = `AR-${SCRIPT.slice(0, 60)}${TURNED}`;
  const sent = await post(granted(id, { justification: SCRIPT + TURNED, requester: { id: '1', name: `${SCRIPT}${TURNED}`, email: 'a@example.com' }, big: 'x'.repeat(1_000_000) }));
  const check = async (where) => {
    assert.equal(await page.evaluate(() => globalThis.harmed), undefined, where);
    const found = await page.evaluate(() => ({
      scripts: document.querySelectorAll('script').length, images: document.querySelectorAll('img, iframe, object, embed').length,
      links: [...document.links].filter((link) => !['http:', 'https:'].includes(link.protocol)).length,
      marks: /[\u202a-\u202e\u2066-\u2069\u200e\u200f\u0007\u001b]/.test(document.body.textContent), title: /[\u202a-\u202e\u2066-\u2069]/.test(document.title),
      elements: document.querySelectorAll('*').length,
      attributes: [...document.querySelectorAll('*')].some((one) => [...one.attributes].some((each) => /[\u202a-\u202e\u2066-\u2069]/.test(each.value) && each.name !== 'href' && each.name !== 'value')),
      wide: document.documentElement.scrollWidth - innerWidth,
    }));
    assert.deepEqual({ ...found, elements: found.elements < 6000 }, { scripts: 1, images: 0, links: 0, marks: false, title: false, attributes: false, wide: found.wide, elements: true }, where);
    assert.ok(found.wide <= 0, `${where} is wider than the window: ${found.wide}`);
  };
  for (const width of [1440, 360]) {
    await page.setViewportSize({ width, height: 900 });
    await go(page, '#/webhooks/tickets');
    await page.locator('.invocations tbody tr').first().waitFor();
    await check('invocations');
    await go(page, '#/webhooks/tickets/dead-letters');
    await page.locator('.letters tbody tr').first().waitFor();
    await check('dead letters');
    await go(page, `#/find/${encodeURIComponent(id)}`);
    await page.locator('.story').first().waitFor();
    await check('find by a hostile id');
    await go(page, `#/find/${sent.id}`);
    await page.locator('.story').first().waitFor();
    await page.getByText('The event', { exact: true }).click();
    await check('its story');
    await page.locator('.line a').first().click();
    await page.locator('.verdict').waitFor();
    await page.getByText('U+202E').first().waitFor();
    await check('its invocation');
    for (const button of await page.getByRole('button', { name: /Show all/ }).all()) await button.click();
    await settled(page);
    await check('all of it');
    assert.match(await page.getByRole('region', { name: 'Body of the response' }).textContent(), /z{1000}/);
  }

  await page.getByRole('button', { name: 'Copy as curl' }).click();
  await page.getByRole('button', { name: 'Copied' }).waitFor();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  assert.ok(!/[\u202a-\u202e\u2066-\u2069\u200f\u0007\u001b]/.test(command), 'a shell is shown no marks');
});
