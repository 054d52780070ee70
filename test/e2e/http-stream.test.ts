import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { EventSource } from 'eventsource';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { StreamReader, type StreamUpdate as Update } from '../support/stream-reader.js';

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway();
});

afterAll(stopAll);

function open(posts: string, at = gateway): Promise<{ reader: StreamReader; headers: Headers }> {
  return StreamReader.open(`${at.url}/v1/stream?posts=${posts}`);
}

async function increment(path: string, headers: Record<string, string> = {}): Promise<void> {
  const { status } = await fetch(gateway.url + path, { method: 'PUT', headers, body: '{"action":"increment"}' });
  expect(status).toBe(200);
}

async function liveOf(post: string): Promise<number> {
  const response = await fetch(`${gateway.url}/v1/${post}/live`);
  return ((await response.json()) as { count: number }).count;
}

describe('an event stream', () => {
  it('a stream has the type text/event-stream and is never compressed', async () => {
    const { reader, headers } = await open('headers');
    expect(headers.get('content-type')).toBe('text/event-stream');
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('x-accel-buffering')).toBe('no');
    expect(headers.get('content-encoding')).toBeNull();
    reader.close();
  });

  it('a stream begins with a snapshot of all its posts, unknown ones included', async () => {
    await increment('/v1/known/views');
    const { reader } = await open('known,unknown,known');
    const [known, unknown, ...others] = await reader.frame();
    expect(known).toEqual({ post: 'known', e: expect.any(String), v: 1, likes: 0, views: 1, live: 1 });
    expect(unknown).toEqual({ post: 'unknown', e: expect.any(String), v: 0, likes: 0, views: 0, live: 1 });
    expect(others).toEqual([]);
    reader.close();
  });

  it('a stream sends every change, and the sum of all d is the change of the totals', async () => {
    const { reader } = await open('busy');
    await reader.frame();
    await Promise.all(Array.from({ length: 30 }, (_, i) => increment('/v1/busy/likes', { 'Actor-Id': `actor-${i}` })));
    const updates = await reader.until(({ likes }) => likes === 30);
    expect(updates.reduce((sum, { d }) => sum + (d?.['likes'] ?? 0), 0)).toBe(30);
    expect(updates.map(({ v }) => v)).toEqual(updates.map(({ v }) => v).sort((a, b) => a - b));
    reader.close();
  });

  it('a stream sends nothing about posts that it did not name', async () => {
    const { reader } = await open('named');
    await reader.frame();
    await increment('/v1/other/likes');
    await increment('/v1/named/likes');
    const updates = await reader.until(({ likes }) => likes === 1);
    expect(new Set(updates.map(({ post }) => post))).toEqual(new Set(['named']));
    reader.close();
  });

  it('a stream is a viewer until its client leaves', async () => {
    const [first, second] = [await open('stage'), await open('stage')];
    await first.reader.until(({ live }) => live === 2);
    expect(await liveOf('stage')).toBe(2);
    second.reader.close();
    await first.reader.until(({ live }) => live === 1);
    expect(await liveOf('stage')).toBe(1);
    first.reader.close();
  });

  it('a HEAD request for the headers of a stream is no viewer', async () => {
    const { status, headers } = await fetch(`${gateway.url}/v1/stream?posts=head`, { method: 'HEAD' });
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe('text/event-stream');
    expect(await liveOf('head')).toBe(0);
  });

  it('a stream sends heartbeats', async () => {
    // Its 15 s pass in 1.5 s.
    const { reader } = await open('quiet', await startGateway({}, { timeScale: 0.1 }));
    let block = await reader.block();
    while (block?.startsWith('event: counts') === true) block = await reader.block();
    expect(block).toBe(': heartbeat');
    reader.close();
  });

  it('an EventSource reads a stream', async () => {
    const source = new EventSource(`${gateway.url}/v1/stream?posts=standard`);
    const seen = new Promise<Update>((resolve) => {
      source.addEventListener('counts', ({ data }) => {
        for (const update of JSON.parse(data as string) as Update[]) if (update.views === 1) resolve(update);
      });
    });
    await increment('/v1/standard/views');
    expect(await seen).toMatchObject({ post: 'standard', views: 1 });
    source.close();
  });

  it('a stream ends with bye after the last counts when the gateway drains, and the gateway ends at once', async () => {
    const closing = await startGateway({ TICK_MS: '60000' });
    const { reader } = await open('drained', closing);
    const path = `${closing.url}/v1/drained/views`;
    const up = () => fetch(path, { method: 'PUT', body: '{"action":"increment"}' });
    await reader.frame();
    // The first change goes out at once, the others would wait for the tick.
    await up();
    await reader.until(({ views }) => views === 1);
    await up();
    await up();
    const ended = closing.kill('SIGTERM');
    await reader.until(({ views }) => views === 3);
    const bye = await reader.block();
    const [, retry, data] = /^retry: (\d+)\nevent: bye\ndata: (.*)$/.exec(bye!)!;
    expect(JSON.parse(data!)).toEqual({ reason: 'the gateway is closing', retryAfterMs: Number(retry) });
    expect(await reader.block()).toBeNull();
    expect(await ended).toBe(0);
  });
});
