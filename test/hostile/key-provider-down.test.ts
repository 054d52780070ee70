import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { KeySet } from '../../src/access/key-set.js';
import type { TokenVerifier } from '../../src/access/token-verifier.js';
import { type Clock, systemClock } from '../../src/common/clock.js';
import { ProtocolError } from '../../src/protocol/errors.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric, untilMetric } from '../support/metrics.js';
import { createVerifier as createTokenVerifier } from '../support/token-verifier.js';
import { until } from '../support/until.js';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const MEGABYTE = 2 ** 20;

let known: { privateKey: CryptoKey; jwk: JWK };
let stranger: { privateKey: CryptoKey; jwk: JWK };
let server: Server;
let url: URL;
let answer: RequestListener;
let fetches: number;
let openNow: number;
let openMost: number;

/** The system's clock plus an offset of the test. Its timers fire at once if a test waits for a retry. */
let aheadMs: number;
let retries: (() => void)[];
const clock: Clock = {
  ...systemClock,
  nowMs: () => systemClock.nowMs() + aheadMs,
  after: (_ms, call) => {
    retries.push(call);
    return { cancel: () => undefined };
  },
};

beforeAll(async () => {
  [known, stranger] = await Promise.all([keyPair('known'), keyPair('stranger')]);
});

/** A new server for each test, so that none has connections cut by an earlier one. */
beforeEach(async () => {
  aheadMs = 0;
  retries = [];
  fetches = 0;
  openNow = 0;
  openMost = 0;
  answer = withKeys(known.jwk);
  server = createServer((request, response) => {
    fetches += 1;
    openNow += 1;
    openMost = Math.max(openMost, openNow);
    response.on('close', () => (openNow -= 1));
    answer(request, response);
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/keys?secret=s3cret`);
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => void server.close(resolve));
});

afterAll(stopAll);

async function keyPair(kid: string): Promise<{ privateKey: CryptoKey; jwk: JWK }> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  return { privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' } };
}

function signed(by: { privateKey: CryptoKey; jwk: JWK }): Promise<string> {
  return new SignJWT({ sub: 'ada' }).setProtectedHeader({ alg: 'ES256', kid: by.jwk.kid! }).sign(by.privateKey);
}

function withKeys(...keys: JWK[]): RequestListener {
  return (_request, response) => void response.end(JSON.stringify({ keys }));
}

const AWAY: RequestListener = (request) => void request.socket.destroy();

function createVerifier(warnings: string[]): TokenVerifier {
  return createTokenVerifier({ jwksUrl: url }, { keys: new KeySet(url, clock, (line) => warnings.push(line)) });
}

/** Resolves with the subject, or with the code of the error. */
async function outcome(tokens: TokenVerifier, by: { privateKey: CryptoKey; jwk: JWK }): Promise<string> {
  try {
    return (await tokens.verify(await signed(by))).subject;
  } catch (error) {
    return error instanceof ProtocolError ? error.body.code : String(error);
  }
}

describe('while the key provider is down', () => {
  it('cached keys verify tokens for a day, unknown ones are UNAVAILABLE, and one line is logged', async () => {
    const warnings: string[] = [];
    const tokens = createVerifier(warnings);
    expect(await outcome(tokens, known)).toBe('ada');
    answer = AWAY;
    aheadMs = 11 * MINUTE_MS;
    for (let i = 0; i < 5; i++) {
      expect(await outcome(tokens, known)).toBe('ada');
      expect(await outcome(tokens, stranger)).toBe('UNAVAILABLE');
    }
    expect(tokens.keys!.isUp).toBe(false);
    aheadMs = DAY_MS - MINUTE_MS;
    expect(await outcome(tokens, known)).toBe('ada');
    aheadMs = DAY_MS + MINUTE_MS;
    expect(await outcome(tokens, known)).toBe('UNAVAILABLE');
    expect(fetches).toBe(2);
    expect(warnings).toEqual([
      expect.stringMatching(
        /^JWT_JWKS_URL http:\/\/127\.0\.0\.1:\d+\/keys: the keys cannot be fetched \(.+\); cached keys verify tokens until 20[^\n]+$/,
      ),
    ]);
    expect(warnings.join()).not.toContain('s3cret');
  });

  it('keys are fetched again by retries, and one line is logged when that succeeds', async () => {
    const warnings: string[] = [];
    const tokens = createVerifier(warnings);
    answer = AWAY;
    expect(await outcome(tokens, known)).toBe('UNAVAILABLE');
    expect(retries).toHaveLength(1);
    retries.pop()!();
    await until(() => retries.length === 1, 'the second attempt failed');
    answer = withKeys(known.jwk, stranger.jwk);
    retries.pop()!();
    await until(() => tokens.keys!.isUp, 'the keys are fetched');
    expect(await outcome(tokens, stranger)).toBe('ada');
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toContain('no token can be verified until a fetch succeeds');
    expect(warnings[1]).toContain('the keys were fetched again');
    expect([fetches, retries.length]).toEqual([3, 0]);
  });
});

describe('while the key provider is up', () => {
  it('a withdrawn key is rejected after ten minutes, at the first token', async () => {
    const tokens = createVerifier([]);
    expect(await outcome(tokens, known)).toBe('ada');
    answer = withKeys(stranger.jwk);
    aheadMs = 11 * MINUTE_MS;
    expect(await outcome(tokens, known)).toBe('UNAUTHORIZED');
  });

  it('tokens of unknown keys cause five fetches, then two a minute, however many there are', async () => {
    const tokens = createVerifier([]);
    expect(await outcome(tokens, stranger)).toBe('UNAUTHORIZED');
    expect(fetches).toBe(1);
    for (let i = 0; i < 50; i++) expect(await outcome(tokens, stranger)).toBe('UNAUTHORIZED');
    expect(fetches).toBe(6);
    aheadMs = MINUTE_MS;
    for (let i = 0; i < 50; i++) expect(await outcome(tokens, stranger)).toBe('UNAUTHORIZED');
    expect(fetches).toBe(8);
    aheadMs = 2 * MINUTE_MS;
    const all = await Promise.all(Array.from({ length: 50 }, () => outcome(tokens, stranger)));
    expect(new Set(all)).toEqual(new Set(['UNAUTHORIZED']));
    expect([fetches, openMost]).toEqual([9, 1]);
  });

  it('a new key is fetched at the first token that names it, however recently keys were fetched', async () => {
    const tokens = createVerifier([]);
    expect(await outcome(tokens, known)).toBe('ada');
    answer = withKeys(known.jwk, stranger.jwk);
    expect(await outcome(tokens, stranger)).toBe('ada');
    expect(fetches).toBe(2);
  });
});

describe('an invalid response of the key provider', () => {
  const large = JSON.stringify({ keys: [], filler: 'x'.repeat(2 * MEGABYTE) });

  it.each<[string, RequestListener, RegExp]>([
    ['of 2 MiB', (_, response) => void response.end(large), /larger than 1048576 bytes/],
    [
      'of 2 MiB that are few when packed',
      (_, response) => void response.setHeader('Content-Encoding', 'gzip').end(gzipSync(large)),
      /larger than 1048576 bytes/,
    ],
    [
      'that redirects',
      (_, response) => void response.writeHead(302, { Location: 'http://127.0.0.1:1/new' }).end(),
      /it responds with 302, a redirect to http:\/\/127\.0\.0\.1:1\/new/,
    ],
    ['with an error', (_, response) => void response.writeHead(500).end('{"keys":[]}'), /it responds with 500/],
    ['that is a page', (_, response) => void response.end('<h1>Maintenance</h1>'), /JSON/],
    ['of another shape', (_, response) => void response.end('{"keys":"none"}'), /malformed/],
    [
      'that ends in the middle',
      (_, response) => {
        response.writeHead(200, { 'Content-Length': 1_000 }).write('{"keys":[');
        setImmediate(() => response.socket?.destroy());
      },
      /cannot be fetched \(.+\)/,
    ],
    // Each byte arrives in time, but not the whole response.
    [
      'that comes slowly',
      (_, response) => {
        const timer = setInterval(() => response.write(' '), 200);
        response.on('close', () => clearInterval(timer));
      },
      /no complete response within 5000 ms/,
    ],
  ])('an invalid response of the key provider is logged and leaves the cached keys: %s', async (_what, bad, reason) => {
    const warnings: string[] = [];
    const tokens = createVerifier(warnings);
    expect(await outcome(tokens, known)).toBe('ada');
    answer = bad;
    aheadMs = 11 * MINUTE_MS;
    expect(await outcome(tokens, known)).toBe('ada');
    expect(warnings).toEqual([expect.stringMatching(reason)]);
    expect(await outcome(tokens, stranger)).toBe('UNAVAILABLE');
    expect(fetches).toBe(2);
    await until(() => openNow === 0, 'the rest of the response is not read');
  });
});

describe('a gateway', () => {
  async function read(gateway: GatewayProcess, token: string): Promise<number> {
    const headers = { Authorization: `Bearer ${token}` };
    return (await fetch(`${gateway.url}/v1/counts?posts=a`, { headers })).status;
  }

  it('a gateway reports a down key provider by a log line and a metric, and responds 503 to tokens of unknown keys', async () => {
    const gateway = await startGateway({ JWT_JWKS_URL: url.href, REQUIRE_TOKEN_TO_READ: 'true' });
    expect(await read(gateway, await signed(known))).toBe(200);
    expect(await readMetric(gateway.url, 'tallycast_key_set_up')).toBe(1);
    await gateway.kill('SIGTERM');

    const started = await startGateway({ JWT_JWKS_URL: url.href, REQUIRE_TOKEN_TO_READ: 'true' });
    answer = AWAY;
    expect(await read(started, await signed(known))).toBe(503);
    expect(await readMetric(started.url, 'tallycast_key_set_up')).toBe(0);
    expect(started.log.filter((line) => line.includes('the keys cannot be fetched'))).toHaveLength(1);
    answer = withKeys(known.jwk);
    await untilMetric(started.url, 'tallycast_key_set_up', 1);
    expect(await read(started, await signed(known))).toBe(200);
    expect(await read(started, await signed(stranger))).toBe(401);
    expect(started.log.filter((line) => line.includes('were fetched again'))).toHaveLength(1);
  });
});
