import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type GatewayProcess, ROOT, startGateway, stopAll } from '../support/gateway-process.js';

let gateway: GatewayProcess;
let built: Buffer;

beforeAll(async () => {
  built = await readFile(join(ROOT, 'dist', 'client', 'tallycast.js'));
  gateway = await startGateway();
});

afterAll(stopAll);

interface Answer {
  readonly status: number | undefined;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: Buffer;
}

/** Reads the raw bytes; `fetch` would decompress them and add headers. */
async function get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
  const outgoing = request(`${gateway.url}${path}`, { headers, agent: false }).end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) };
}

test('the client script equals the built file, compressed for clients that accept gzip', async () => {
  const plain = await get('/client/tallycast.js');
  const packed = await get('/client/tallycast.js', { 'Accept-Encoding': 'gzip' });
  expect(plain.body.equals(built)).toBe(true);
  expect(packed.headers).toMatchObject({
    'content-encoding': 'gzip',
    vary: expect.stringContaining('Accept-Encoding'),
  });
  expect(gunzipSync(packed.body).equals(built)).toBe(true);
});

test('a page of any origin may load the client script, even if the gateway lists none', async () => {
  const { status, headers } = await get('/client/tallycast.js', { Origin: 'https://elsewhere.example' });
  expect(status).toBe(200);
  expect(headers).toMatchObject({
    'content-type': expect.stringMatching(/^text\/javascript/),
    'access-control-allow-origin': '*',
    'cross-origin-resource-policy': 'cross-origin',
    'x-content-type-options': 'nosniff',
  });
});

test('the client script may be cached for ten minutes, and is sent again only after a change', async () => {
  const { headers } = await get('/client/tallycast.js');
  expect(headers['cache-control']).toBe('public, max-age=600, stale-while-revalidate=86400');
  const again = await get('/client/tallycast.js', { 'If-None-Match': String(headers['etag']) });
  expect([again.status, again.body.length]).toEqual([304, 0]);
  expect((await get('/client/tallycast.js', { 'If-None-Match': '"another"' })).status).toBe(200);
});

test('the folder of the client script has only its source map besides', async () => {
  const map = JSON.parse((await get('/client/tallycast.js.map')).body.toString()) as { sources: string[] };
  expect(built.toString()).toMatch(/\/\/# sourceMappingURL=tallycast\.js\.map\s*$/);
  expect(map.sources.some((source) => source.endsWith('client/src/client.ts'))).toBe(true);
  for (const path of ['/client/', '/client', '/client/index.js', '/client/..%2fmain.js']) {
    expect([path, (await get(path)).status]).toEqual([path, 404]);
  }
});
