/** Sends views over HTTP, many a request, and keeps a ledger as act does. */
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { measureCpu } from '../harness/cpu.mjs';

const HTTP_ACCEPTED = 202;

/**
 * Keeps one request of each connection in flight, and counts what was accepted between its warm-up and its end.
 *
 * @param options `port`; `pids` of the server and of its store; `connections`; `events` a request; `withSeq`: whether events
 *   have a session and numbers; `posts`; `warmup` and `seconds`; `core` of the load
 * @returns `operationsPerSecond`; µs of CPU an event: `micros`, in the order of `pids`, and `loadMicros`; `refused` requests; and
 *   `prefix` and `ledger` for `wrongTotals`
 */
export async function send({ pids, connections, warmup, seconds, ...options }) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const prefix = `r${randomBytes(4).toString('hex')}-`;
  const books = { accepted: 0, refused: 0, views: new Array(options.posts).fill(0), isOver: false };
  const senders = Array.from({ length: connections }, (_, i) => sendInTurn(i, agent, prefix, books, options));
  await sleep(warmup * 1_000);
  const cpus = [...pids, process.pid].map((pid) => measureCpu([pid]));
  const before = books.accepted;
  await sleep(seconds * 1_000);
  const accepted = books.accepted - before;
  const found = cpus.map((cpu) => cpu());
  books.isOver = true;
  await Promise.all(senders);
  agent.destroy();
  const micros = found.map((cpu) => cpu.micros / accepted);
  const loadMicros = micros.pop();
  const operationsPerSecond = accepted / (found[0].wallMicros / 1e6);
  const likes = books.views.map(() => 0);
  return {
    operationsPerSecond,
    micros,
    loadMicros,
    refused: books.refused,
    prefix,
    ledger: { likes, views: books.views },
  };
}

async function sendInTurn(index, agent, prefix, books, { port, events, withSeq, posts }) {
  const session = `${prefix}session-${index}`;
  let seq = 0;
  let post = (index * events) % posts;
  while (!books.isOver) {
    const list = [];
    for (let i = 0; i < events; i++) {
      list.push(withSeq ? { post: `${prefix}${post}`, seq: ++seq } : { post: `${prefix}${post}` });
      books.views[post] += 1;
      post = (post + 1) % posts;
    }
    const body = JSON.stringify(withSeq ? { session, events: list } : list);
    const accepted = await sendOne(agent, port, body);
    books.accepted += accepted;
    if (accepted < events) books.refused += 1;
  }
}

/** @returns how many events were accepted */
async function sendOne(agent, port, body) {
  const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) };
  const outgoing = request({ host: '127.0.0.1', port, path: '/v1/events', method: 'POST', headers, agent });
  outgoing.end(body);
  const [response] = await once(outgoing, 'response');
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return response.statusCode === HTTP_ACCEPTED ? JSON.parse(text).accepted : 0;
}
