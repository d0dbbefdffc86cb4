// Dead letters: one, those that are chosen, and all are replayed, each time after a question.

import { answerOf, assert, browse, eventually, go, granted, open, post } from './steps.mjs';

await browse(async (browser) => {
  const page = await open(browser);
  answerOf('tickets', 422, '{"error":"no"}');
  for (let at = 0; at < 6; at += 1) await post(granted(`AR-${at}`));
  await go(page, '#/webhooks/tickets/dead-letters');
  const rows = page.locator('.letters tbody tr');
  const left = (count) => eventually(`${count} dead letters`, async () => (await rows.count()) === count);
  await left(6);
  await rows.first().getByText('client_error').waitFor();

  answerOf('tickets', 200, '{"ok":true}');
  const dialog = page.getByRole('dialog');
  await rows.first().getByRole('button', { name: /Replay/ }).click();
  await dialog.getByText(/1 delivery becomes pending again/).waitFor();
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  assert.equal(await rows.count(), 6);
  await rows.first().getByRole('button', { name: /Replay/ }).click();
  await dialog.getByRole('button', { name: 'Replay' }).click();
  await page.getByText('1 dead letter replayed.').waitFor();
  await left(5);

  assert.ok(await page.getByRole('button', { name: 'Replay chosen' }).isDisabled());
  await rows.nth(0).getByRole('checkbox').check();
  await rows.nth(2).getByRole('checkbox').check();
  await page.getByRole('button', { name: 'Replay chosen (2)' }).click();
  await dialog.getByRole('button', { name: 'Replay' }).click();
  await page.getByText('2 dead letters replayed.').waitFor();
  await left(3);

  await page.getByRole('button', { name: 'Replay all' }).click();
  await dialog.getByRole('button', { name: 'Replay' }).click();
  await page.getByText('3 dead letters replayed.').waitFor();
  await page.getByText('No dead letters: nothing was given up on.').waitFor();

  // One that comes while nobody reloads appears by itself.
  answerOf('tickets', 422);
  await post(granted('AR-9'));
  await left(1);
});
