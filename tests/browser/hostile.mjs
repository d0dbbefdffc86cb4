// An event that means harm does none: it is text, its marks are seen, and a megabyte of it is bounded.

import { execFileSync, spawnSync } from 'node:child_process';
import { answerOf, assert, browse, go, granted, open, post, rowOf, settled } from './steps.mjs';

const SCRIPT = '<script>globalThis.harmed = 1</script><img src="x" onerror="globalThis.harmed = 2"><a href="javascript:harmed=3">x</a>';
const SHELLS = ['sh', 'bash', 'zsh'].filter((shell) => !spawnSync(shell, ['-c', ':']).error);
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
    await page.locator('.story, main .empty, main .note').first().waitFor();
    await check('find by a hostile id');
    await go(page, `#/find/${sent.id}`);
    await page.locator('.story').first().waitFor();
    await page.getByText('The event', { exact: true }).click();
    await check('its story');
    await page.locator('.line a').first().click();
    await page.locator('.verdict').waitFor();
    await page.getByText('U+202E').first().waitFor();
    await check('its invocation');
    const more = page.getByRole('button', { name: /Show all/ });
    assert.ok(await more.count() > 0, 'a megabyte is bounded');
    while (await more.count()) await more.first().click();
    await settled(page);
    await check('all of it');
    assert.match(await page.getByRole('region', { name: 'Body of the response' }).textContent(), /z{1000}/);
  }

  await page.getByRole('button', { name: 'Copy as curl' }).click();
  await page.getByRole('button', { name: 'Copied' }).waitFor();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  assert.ok(!/[\u202a-\u202e\u2066-\u2069\u200f\u0007\u001b]/.test(command), 'a shell is shown no marks');

  // An address that names no view is the first screen's, whatever it names otherwise.
  for (const name of ['constructor', '__proto__', 'toString']) {
    await go(page, '#/config');
    await page.getByRole('heading', { name: 'Configuration', exact: true }).waitFor();
    await page.evaluate((hash) => { location.hash = hash; }, `#/${name}/x`);
    await rowOf(page, 'tickets').waitFor();
  }

  // Shells that are there run what is copied, line by line as from a terminal, with a history to be called up; what curl would
  // get is exactly what was sent, and nothing else is run.
  const curl = (request) => page.evaluate(async (given) => (await import('/assets/parts/curl.js')).curl(given), request);
  const run = (shell, lines, variables = {}) => {
    const recalls = shell === 'bash' ? 'set -o history -H\n' : '';
    const input = `${recalls}curl() { printf '%s\\0' "$@"; }\n${lines}\nprintf end`;
    const said = execFileSync(shell, [], { input, env: { PATH: process.env.PATH, ...variables } }).toString().split('\0');
    assert.equal(said.pop(), 'end', `${shell}: something else was run by ${lines}`);
    return said;
  };
  const request = (body) => ({ method: 'POST', url: 'https://a.example/***', headers: [['authorization', '***'], ['x-note', `${body.replace(/[\r\n]/g, ' ')}Bearer ***`]], body, body_bytes: 7, truncated: true });
  const bodies = [
    "'", "''", "it's", '\\', "\\'", '\\\\n', '$(echo INJECTED)', '`echo INJECTED`', '"; echo INJECTED; #', "'; echo INJECTED; #", "\u202e' ; echo INJECTED ; #",
    "\u202e\\'; echo INJECTED; #", "\u202e$(echo INJECTED)`echo INJECTED`\"')", '\u202e%s%d%%\\c\\0101', '\u202e7', '-n\u202e', '\n', '\u202e\n\n', 'a\n\n', '\u202e\na', '\r\n\r\n', '\t', '!!', "a\n'!echo'\n", 'a\n!!\n^curl^echo^\n', '\u202e!echo',
    'a\\\n', '# no comment', '\n# no comment', '~ * ? [a] {b,c} & | < > ;', TURNED, SCRIPT, 'ü\u00ad€😀\u{e0041}👩\u200d💻', Array.from({ length: 31 }, (_, at) => String.fromCharCode(at + 1)).join(''),
    '***', '****', "a***\u202e'***\n", '"key": "***", "note": "***"\n',
    'a\nb***x!!y', '\n!n ***c!!d',
  ];
  for (const body of bodies) {
    const sent = request(body);
    const made = await curl(sent);
    // eslint-disable-next-line no-control-regex
    assert.ok(!/(?!\n)[\u0000-\u001f\u007f\u00ad\u202a-\u202e\u2066-\u2069\u{e0041}]/u.test(made), made);
    for (const shell of SHELLS) {
      const what = `${shell}: ${JSON.stringify(body)}: ${made}`;
      const said = run(shell, made, { SECRET_URL: '$(url)', SECRET_AUTHORIZATION: "it's" });
      const note = sent.headers[1][1];
      assert.deepEqual(said, ['--globoff', '--request', 'POST', '--url', 'https://a.example/$(url)', '--header', "authorization: it's", '--header', `x-note: ${note}`, '--data-raw', body], what);
    }
  }
  // A mask of the body is a variable of its own, and the event's own asterisks stay where that is not set.
  for (const shell of SHELLS) {
    const said = run(shell, await curl({ ...request('"key": "***", "note": "***"'), headers: [] }), { SECRET_BODY: 'k' });
    assert.equal(said.at(-1), '"key": "k", "note": "***"');
    assert.equal(run(shell, await curl({ ...request(''), headers: [['x-empty', '']] }), { SECRET_URL: 'u' }).at(-1), 'x-empty;');
  }
});
