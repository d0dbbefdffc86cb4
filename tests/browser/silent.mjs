// A sidecar that takes requests and answers none is not called live, and what was asked for is told to have no answer.

import { browse, go, open, PATIENCE_MS, world } from './steps.mjs';

// The page itself waits for 15 s.
const LONG = { timeout: 2 * PATIENCE_MS };

await browse(async (browser) => {
  const page = await open(browser);
  await go(page);
  process.kill(world.pid, 'SIGSTOP');
  try {
    await page.evaluate(() => { location.hash = '#/webhooks/tickets/definition'; });
    await page.getByText('Connection lost, trying again in').waitFor(LONG);
    await page.getByText('No answer came in 15 s.').waitFor(LONG);
  } finally {
    process.kill(world.pid, 'SIGCONT');
  }
  await page.getByText('Live', { exact: true }).waitFor();
});
