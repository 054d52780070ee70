import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { type GatewayProcess, ROOT, startGateway, stopAll } from '../support/gateway-process.js';

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway();
});

afterAll(stopAll);

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly bytes: Buffer;
}

/** Reads the raw bytes. */
async function send(path: string, headers: Record<string, string> = {}): Promise<Answer> {
  const outgoing = get({ host: '127.0.0.1', port: gateway.port, path, headers, agent: false });
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode, headers: response.headers, bytes: Buffer.concat(chunks) };
}

/** Current browsers send this over HTTPS and to loopback. Over plain HTTP they leave Brotli out. */
const ALL = { 'Accept-Encoding': 'gzip, deflate, br, zstd' };
const GZIP = { 'Accept-Encoding': 'gzip, deflate' };

describe('served files', () => {
  it.each([
    ['/docs/swagger-ui-bundle.js', 'docs/swagger-ui-bundle.js', 'text/javascript; charset=utf-8'],
    ['/docs/', 'docs/index.html', 'text/html; charset=utf-8'],
    ['/client/tallycast.js', 'client/tallycast.js', 'text/javascript; charset=utf-8'],
    ['/client/tallycast.js.map', 'client/tallycast.js.map', 'application/json; charset=utf-8'],
    ['/', 'client-demo/index.html', 'text/html; charset=utf-8'],
    ['/feed/?from=here', 'client-demo/feed/index.html', 'text/html; charset=utf-8'],
  ])('a served file is compressed once at build time: %s', async (path, file, type) => {
    const forms = await Promise.all([send(path), send(path, GZIP), send(path, ALL)]);
    const built = await Promise.all(['', '.gz', '.br'].map((ending) => readFile(join(ROOT, 'dist', file + ending))));
    for (const [at, { bytes }] of forms.entries()) expect(bytes.equals(built[at]!)).toBe(true);
    expect(forms.map(({ headers }) => headers['content-encoding'])).toEqual([undefined, 'gzip', 'br']);
    for (const { status, headers } of forms) {
      expect(status).toBe(200);
      expect(headers['content-type']).toBe(type);
      expect(headers.vary).toContain('Accept-Encoding');
    }
    // Caches distinguish the forms and revalidate each.
    expect(new Set(forms.map(({ headers }) => headers.etag)).size).toBe(3);
    for (const [at, accepted] of [{}, GZIP, ALL].entries()) {
      const { headers } = forms[at]!;
      const again = await send(path, { ...accepted, 'If-None-Match': headers.etag! });
      expect([again.status, again.bytes.length]).toEqual([304, 0]);
    }
  });
});

it('a folder without its slash is redirected, relative to its own URL', async () => {
  for (const [path, location] of [
    ['/docs', 'docs/'],
    ['/feed?post=a/b', 'feed/?post=a/b'],
  ] as const) {
    const { status, headers } = await send(path, GZIP);
    expect([status, headers.location]).toEqual([301, location]);
  }
  for (const path of ['//feed', '/assets', '/%66eed']) expect((await send(path)).status).toBe(404);
});

it('the page of the documentation has no source maps', async () => {
  expect((await readdir(join(ROOT, 'dist', 'docs'))).filter((name) => name.includes('.map'))).toEqual([]);
  for (const name of ['swagger-ui-bundle.js.map', 'swagger-ui.css.map']) {
    expect((await send(`/docs/${name}`, GZIP)).status).toBe(404);
  }
});
