/** Runs bench/native/act, and compares its ledger with the server's totals. */
import { randomBytes } from 'node:crypto';
import { compiled } from '../harness/native.mjs';
import { start } from '../harness/processes.mjs';

/** Operations without an acknowledgement this long after the measured time are lost. */
const DRAIN_LIMIT_MS = 60_000;
const POSTS_A_REQUEST = 200;

/**
 * @param options options of act (see act.c); `core`; `pids`: the processes of the server and of its store
 * @returns the output of act, with the `prefix` of its posts (new ones unless given), `operationsPerSecond`, and µs of
 *   CPU an operation: `micros`, in the order of `pids`, and `loadMicros`
 */
export async function act(options) {
  const { load, result } = startActing(options);
  try {
    return await result();
  } finally {
    await load.end();
  }
}

/** Like `act`, without waiting. `result()` resolves at its end; `load.end()` ends it earlier. */
export function startActing({ core, pids = [], prefix, ...options }) {
  const run = `r${randomBytes(4).toString('hex')}`;
  prefix ??= `${run}-`;
  const args = Object.entries({ run, prefix, ...options }).map(([name, value]) => `${name}=${value}`);
  if (pids.length > 0) args.push(`pids=${pids.join(',')}`);
  const load = start(compiled('act'), args, { core });
  const limitMs = (Number(options.warmup ?? 0) + Number(options.seconds)) * 1_000 + DRAIN_LIMIT_MS;
  return {
    load,
    connected: () => load.line((line) => line === 'connected', limitMs),
    measuring: () => load.line((line) => line === 'measuring', limitMs),
    result: async () => summary(prefix, await load.record('ledger', limitMs)),
  };
}

function summary(prefix, found) {
  const { count } = found.latencyMs;
  const micros = found.cpuSeconds.map((seconds) => (seconds * 1e6) / count);
  const loadMicros = micros.pop();
  return { ...found, prefix, operationsPerSecond: count / found.seconds, micros, loadMicros };
}

/** @returns the number of posts whose totals differ from the ledger: above 0 operations were lost or doubled */
export async function wrongTotals(server, { prefix, ledger }) {
  const { likes, views } = ledger;
  let wrong = 0;
  for (let from = 0; from < likes.length; from += POSTS_A_REQUEST) {
    const posts = likes.slice(from, from + POSTS_A_REQUEST).map((_, i) => `${prefix}${from + i}`);
    const response = await globalThis.fetch(`${server.url}/v1/counts?posts=${posts.join(',')}`);
    const body = await response.json();
    if (!response.ok) throw new Error(`/v1/counts responded ${JSON.stringify(body)}`);
    const found = new Map((body.counts ?? body).map((update) => [update.post, update]));
    posts.forEach((post, i) => {
      const update = found.get(post);
      if (update?.likes !== likes[from + i] || update?.views !== views[from + i]) wrong += 1;
    });
  }
  return wrong;
}
