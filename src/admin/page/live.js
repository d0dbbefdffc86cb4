// What changes is asked for again and again: one request at a time, none while nobody looks, and less often while it fails.

const SLOWEST_MS = 15_000;

/** Waits; a hidden page waits until it is seen. */
function pause(ms, signal) {
  return new Promise((done) => {
    let timer = 0;
    const finish = () => {
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', look);
      signal.removeEventListener('abort', finish);
      done();
    };
    const begin = () => { timer = setTimeout(() => (document.hidden ? undefined : finish()), ms); };
    const look = () => {
      if (document.hidden) return;
      clearTimeout(timer);
      finish();
    };
    document.addEventListener('visibilitychange', look);
    signal.addEventListener('abort', finish);
    begin();
  });
}

/**
 * Calls `ask` every so often until `signal` ends it. `failed` hears of an error with the time until the next try, and says
 * whether to go on.
 */
export async function follow(ask, everyMs, signal, failed = () => true) {
  let failures = 0;
  while (!signal.aborted) {
    let wait = everyMs;
    try {
      await ask(signal);
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      failures += 1;
      wait = Math.min(SLOWEST_MS, everyMs * 2 ** failures);
      if (!failed(error, wait)) return;
    }
    await pause(wait, signal);
  }
}
