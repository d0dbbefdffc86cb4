// No secret is in the DOM, in any answer to the page, or in what the page keeps.

import { answerOf, assert, browse, edit, eventually, go, granted, open, post, settled, world } from './steps.mjs';

await browse(async (browser) => {
  assert.ok(world.canaries.length >= 4);
  const page = await open(browser);
  const answers = [];
  page.on('response', (answer) => answers.push(answer.text().then((text) => [answer.url(), text]).catch(() => null)));
  const clean = (where, text) => {
    for (const canary of world.canaries) {
      for (const form of [canary, encodeURIComponent(canary), Buffer.from(canary).toString('base64')]) assert.ok(!text.includes(form), `${canary} is in ${where}`);
    }
  };
  // The targets repeat what they are sent.
  answerOf('chat', 418, 'repeat');
  answerOf('tickets', 200, 'repeat');
  const { id } = await post(granted('AR-5'));
  await post(granted('AR-6', {}, 'AccessRequestCreated'));
  await go(page);
  await eventually('both failed', async () => {
    const list = await (await fetch(`${world.page}/api/v1/invocations?outcome=failed`)).json();
    return new Set(list.invocations.map((one) => one.webhook)).size >= 2 && list;
  });
  const list = (await (await fetch(`${world.page}/api/v1/invocations`)).json()).invocations;
  const views = ['#/', '#/config', `#/find/${id}`, '#/find/AR-6'];
  for (const name of ['audit', 'chat', 'quiet', 'tickets']) {
    for (const tab of ['', '/dead-letters', '/definition', '/sample', '/schema']) views.push(`#/webhooks/${name}${tab}`);
  }
  for (const one of list) views.push(`#/invocations/${one.id}`);
  const look = async (view) => {
    await page.evaluate((hash) => { location.hash = hash; }, view);
    await page.waitForTimeout(150);
    await settled(page);
    for (const details of await page.locator('details:not([open]) > summary').all()) await details.click();
    clean(view, await page.content());
  };
  for (const view of views) await look(view);
  await go(page, '#/webhooks/chat');
  await page.getByRole('button', { name: 'Test', exact: true }).click();
  await page.locator('.verdict').waitFor();
  clean('a test', await page.content());
  // A fault beside a secret that somebody typed.
  edit('chat', (text) => `${text}\n[auth]\nbearer = { token = "${world.typed}", tokn = "x" }\n`);
  await page.locator('#config-mark').waitFor();
  await look('#/config');
  assert.ok(!(await page.content()).includes(world.typed), 'a typed secret');
  clean('what the page keeps', await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])));
  const texts = (await Promise.all(answers)).filter(Boolean);
  assert.ok(texts.length > 40, `${texts.length} answers`);
  for (const [url, text] of texts) clean(url, text);
});
