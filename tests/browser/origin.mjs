// Another origin can neither read nor act, and cannot put the page into a frame. A link may open it.

import { createServer, get } from 'node:http';
import { answerOf, ask, assert, browse, eventually, granted, open, post, world } from './steps.mjs';

const server = createServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'text/html' });
  response.end(`<!doctype html><title>evil</title><a id="link" href="${world.page}/#/config">look</a><iframe id="frame" src="${world.page}/"></iframe>`);
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const evil = server.address().port;

await browse(async (browser) => {
  answerOf('tickets', 422);
  await post(granted('AR-1'));
  const dead = async () => (await (await ask('/api/v1/dead-letters')).json()).dead_letters.length;
  await eventually('a dead letter', async () => (await dead()) === 1);
  const invocations = async () => (await (await ask('/api/v1/invocations')).json()).invocations.length;
  const before = await invocations();
  // Another port, another name for the same machine.
  for (const host of ['127.0.0.1', 'localhost']) {
    const page = await open(browser);
    await page.goto(`http://${host}:${evil}/`);
    const tried = await page.evaluate(async (target) => {
      const outcomes = {};
      const attempt = async (name, path, init) => {
        try {
          const answer = await fetch(target + path, init);
          outcomes[name] = answer.type === 'opaque' ? 'opaque' : `read ${answer.status}: ${(await answer.text()).slice(0, 80)}`;
        } catch {
          outcomes[name] = 'refused';
        }
      };
      const body = JSON.stringify({ all: true });
      await attempt('read', '/api/v1/webhooks');
      await attempt('read the page', '/');
      await attempt('read a file', '/assets/main.js');
      await attempt('act', '/api/v1/dead-letters/drop', { method: 'POST', body, headers: { 'outrigger-request': '1', 'content-type': 'application/json' } });
      await attempt('act simply', '/api/v1/dead-letters/drop', { method: 'POST', body });
      await attempt('act blindly', '/api/v1/dead-letters/drop', { method: 'POST', body: new Blob([body]), mode: 'no-cors' });
      await attempt('test', '/api/v1/webhooks/tickets/test', { method: 'POST', body: '{}', mode: 'no-cors' });
      await attempt('quit', '/-/quit', { method: 'POST', mode: 'no-cors' });
      const script = await new Promise((done) => {
        const element = document.createElement('script');
        element.src = `${target}/assets/main.js`;
        element.type = 'module';
        element.onload = () => done('loaded');
        element.onerror = () => done('refused');
        document.body.append(element);
      });
      return { ...outcomes, script };
    }, world.page);
    for (const [name, outcome] of Object.entries(tried)) assert.ok(['refused', 'opaque'].includes(outcome), `${host}: ${name}: ${outcome}`);
    const framed = page.frames().find((frame) => frame !== page.mainFrame());
    assert.equal(await framed?.locator('#main').count().catch(() => 0) ?? 0, 0, 'the page is in a frame');
    await page.locator('#link').click();
    await page.getByRole('heading', { name: 'Configuration' }).waitFor();
    await page.getByText('Live', { exact: true }).waitFor();
    await page.context().close();
  }
  assert.equal(await dead(), 1, 'nothing was dropped');
  assert.equal(await invocations(), before, 'nothing was tested');
  // A name that points here by itself is another origin for the listener, too.
  // (`fetch` sends no such `Host`.)
  const named = (path) => new Promise((done, failed) => {
    get(`${world.page}${path}`, { headers: { host: 'evil.example' } }, (answer) => { answer.resume(); done(answer.statusCode); }).on('error', failed);
  });
  for (const path of ['/', '/assets/main.js', '/api/v1/webhooks']) assert.equal(await named(path), 421, path);
});
server.close();
