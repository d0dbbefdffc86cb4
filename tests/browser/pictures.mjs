// The pictures of docs/pictures, by tests/browser/pictures.

import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { assert, browse, edit, eventually, go, open, post, settled, world } from './steps.mjs';

/** What a picture may weigh. */
const BYTES_MAX = 150_000;

const event = (name) => JSON.parse(readFileSync(join(world.config, 'events', name), 'utf8'));

/** An event of `config/events` for another request. */
function variant(name, number, person) {
  const made = event(name);
  Object.assign(made.data, { id: `7f3d9a52-1c64-4f7b-b1a0-5a0e6c9d${number}`, friendly_id: `AR-${number}` });
  made.data.requester.name = person;
  return made;
}

await browse(async (browser) => {
  const people = ['Ana Ruiz', 'Chiyo Tanaka', 'Jonas Berg', 'Amara Okafor', 'Lena Vogt'];
  for (let at = 0; at < 30; at += 1) {
    await post(variant(['request-granted.json', 'request-created.json', 'request-approved-manually.json'][at % 3], 1100 + at, people[at % people.length]));
  }
  await post(event('audit-entry.json'), '/v1/events/audit');
  const failed = await eventually('a validator failed', async () => {
    const { invocations } = await (await fetch(`${world.page}/api/v1/invocations?outcome=failed&reason=validation_failed`)).json();
    return invocations.find((one) => one.webhook === 'tickets' && one.request_id);
  });
  await eventually('records fails', async () => {
    const { webhooks } = await (await fetch(`${world.page}/api/v1/webhooks`)).json();
    return webhooks.find((one) => one.name === 'records')?.state === 'failing';
  });
  const shoot = async (name, hash, look, clip) => {
    const page = await open(browser, look);
    await go(page, hash);
    await settled(page);
    await page.waitForTimeout(600);
    await page.setViewportSize({ width: look.width, height: clip });
    await page.mouse.move(0, 0);
    const path = join(world.folder, `${name}.png`);
    await page.screenshot({ path });
    assert.ok(statSync(path).size < BYTES_MAX, `${name} weighs ${statSync(path).size} bytes`);
    await page.context().close();
  };
  for (const theme of ['light', 'dark']) {
    await shoot(`webhooks-1440-${theme}`, '#/', { width: 1440, theme }, 720);
    await shoot(`webhooks-360-${theme}`, '#/', { width: 360, theme }, 800);
    await shoot(`invocation-1440-${theme}`, `#/invocations/${failed.id}`, { width: 1440, theme }, 1180);
    await shoot(`invocation-360-${theme}`, `#/invocations/${failed.id}`, { width: 360, theme }, 800);
    await shoot(`find-1440-${theme}`, `#/find/${failed.request_id}`, { width: 1440, theme }, 900);
    await shoot(`find-360-${theme}`, `#/find/${failed.request_id}`, { width: 360, theme }, 800);
  }
  await shoot('webhook-1440-light', '#/webhooks/tickets', { width: 1440, theme: 'light' }, 820);
  await shoot('sample-1440-light', '#/webhooks/slack/sample', { width: 1440, theme: 'light' }, 1100);
  edit('slack', (text) => text.replace('triggers = [', 'trigers = ['));
  const page = await open(browser);
  await go(page);
  await page.locator('#config-mark').waitFor();
  await page.context().close();
  await shoot('configuration-1440-light', '#/config', { width: 1440, theme: 'light' }, 620);
});
