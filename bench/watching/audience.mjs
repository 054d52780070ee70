/** Viewers of one post in worker threads, and connections that send views. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { URL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { io } from 'socket.io-client';

/** The wait after an error without `retryAfterMs`. */
const RETRY_MS = 100;

/** @returns `{ ended(views), close() }` once all watch; `ended` resolves with the report of each thread (viewers.mjs) */
export async function openAudience({ urls, post, count, threads }) {
  const workers = Array.from({ length: threads }, () => {
    const workerData = { urls, post, count: count / threads };
    return new Worker(new URL('./viewers.mjs', import.meta.url), { workerData });
  });
  await Promise.all(workers.map((worker) => once(worker, 'message')));
  return {
    async ended(views) {
      const reports = workers.map((worker) => once(worker, 'message'));
      for (const worker of workers) worker.postMessage({ views });
      return (await Promise.all(reports)).map(([outcome]) => outcome);
    },
    close: () => Promise.all(workers.map((worker) => worker.terminate())),
  };
}

/** Connections that view the post. `view(i)` resolves when the view is counted by some gateway. */
export async function openSenders({ urls, post, count }) {
  const sockets = Array.from({ length: count }, (_, i) => {
    const auth = { actor: `actor-${i}`, session: `session-of-actor-${i}` };
    const options = {
      transports: ['websocket'],
      forceNew: true,
      auth,
      reconnectionDelay: 20,
      reconnectionDelayMax: 100,
    };
    return { socket: io(urls[i % urls.length], options), seq: 0 };
  });
  await Promise.all(sockets.map(({ socket }) => new Promise((resolve) => socket.once('connect', resolve))));
  return {
    async view(i) {
      const sender = sockets[i % count];
      const seq = (sender.seq += 1);
      for (;;) {
        const answer = await sender.socket
          .timeout(5_000)
          .emitWithAck('view', { post, seq })
          .catch(() => null);
        if (answer?.ok) return;
        if (answer !== null && !answer.error.retryable) throw new Error(JSON.stringify(answer.error));
        await sleep(answer?.error.retryAfterMs ?? RETRY_MS);
      }
    },
    moveTo(url) {
      for (const { socket } of sockets) socket.io.uri = url;
    },
    close() {
      for (const { socket } of sockets) socket.close();
    },
  };
}
