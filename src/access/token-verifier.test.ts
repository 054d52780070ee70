import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  base64url,
  type CryptoKey,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  type JWK,
  type JWTPayload,
  SignJWT,
  UnsecuredJWT,
} from 'jose';
import { ProtocolError } from '../protocol/errors.js';
import { ACTOR_MAX } from '../protocol/limits.js';
import { systemClock } from '../common/clock.js';
import { KeySet } from './key-set.js';
import { TokenVerifier } from './token-verifier.js';

const SECRET = 'a secret of at least thirty-two bytes';
const SECRET_BYTES = new TextEncoder().encode(SECRET);
const HOUR_S = 3_600;
const nowS = (): number => Math.floor(Date.now() / 1000);

describe('by a shared secret', () => {
  const tokens = new TokenVerifier({ secret: SECRET }, null);

  test.each(['HS256', 'HS384', 'HS512'])(
    'a token signed with the secret is accepted, and its subject is the actor: %s',
    async (alg) => {
      const exp = nowS() + HOUR_S;
      const token = await signed({ sub: 'ada', exp }, SECRET_BYTES, { alg });
      expect(await tokens.verify(token)).toEqual({ subject: 'ada', expiresAtMs: 1000 * exp });
    },
  );

  test('a token without an expiry never expires', async () => {
    const token = await signed({ sub: 'ada' }, SECRET_BYTES);
    expect(await tokens.verify(token)).toEqual({ subject: 'ada', expiresAtMs: null });
  });

  test('an expired token is rejected with that reason', async () => {
    const token = await signed({ sub: 'ada', exp: nowS() - 1 }, SECRET_BYTES);
    expect(await refusal(tokens, token)).toMatchObject({
      code: 'UNAUTHORIZED',
      message: expect.stringMatching('expired'),
    });
  });

  test('a token that is not valid yet is rejected', async () => {
    const token = await signed({ sub: 'ada', nbf: nowS() + HOUR_S }, SECRET_BYTES);
    expect(await refusal(tokens, token)).toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('a token signed with another secret is rejected', async () => {
    const token = await signed({ sub: 'ada' }, new TextEncoder().encode(`${SECRET}!`));
    expect(await refusal(tokens, token)).toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('a token with a changed payload is rejected', async () => {
    const [header, , signature] = (await signed({ sub: 'ada' }, SECRET_BYTES)).split('.');
    const payload = base64url.encode(JSON.stringify({ sub: 'bob' }));
    expect(await refusal(tokens, `${header}.${payload}.${signature}`)).toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('a token without a signature is rejected', async () => {
    const unsecured = new UnsecuredJWT({ sub: 'ada' }).encode();
    const [header, payload] = (await signed({ sub: 'ada' }, SECRET_BYTES)).split('.');
    for (const token of [unsecured, `${header}.${payload}.`])
      expect(await refusal(tokens, token)).toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('a token signed with a key pair is rejected where a secret is set', async () => {
    const { privateKey } = await generateKeyPair('RS256');
    const token = await signed({ sub: 'ada' }, privateKey, { alg: 'RS256' });
    expect(await refusal(tokens, token)).toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test.each(['', 'x', 'a.b', 'a.b.c', 'a.b.c.d.e', '..', '\u0000', 'eyJhbGciOiJIUzI1NiJ9.e30'])(
    'a text that is no token is rejected: "%s"',
    async (token) => {
      expect(await refusal(tokens, token)).toMatchObject({ code: 'UNAUTHORIZED', retryable: false });
    },
  );

  test.each([
    ['none', {}],
    ['an empty one', { sub: '' }],
    ['a number', { sub: 7 }],
    ['one that is too long', { sub: 'x'.repeat(ACTOR_MAX + 1) }],
  ])('a subject must have 1 to 128 characters, not %s', async (_, payload) => {
    const token = await signed(payload as JWTPayload, SECRET_BYTES);
    expect(await refusal(tokens, token)).toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('a subject of 128 characters is accepted', async () => {
    const sub = 'x'.repeat(ACTOR_MAX);
    expect((await tokens.verify(await signed({ sub }, SECRET_BYTES))).subject).toBe(sub);
  });
});

describe('issuer and audience', () => {
  const tokens = new TokenVerifier({ secret: SECRET, issuer: 'https://id.example.org', audience: 'counts' }, null);
  const right = { sub: 'ada', iss: 'https://id.example.org', aud: ['shop', 'counts'] };

  test('a token of the issuer for this audience is accepted', async () => {
    expect((await tokens.verify(await signed(right, SECRET_BYTES))).subject).toBe('ada');
  });

  test.each([
    ['iss', { ...right, iss: 'https://evil.test' }],
    ['iss', { sub: 'ada', aud: 'counts' }],
    ['aud', { ...right, aud: 'shop' }],
    ['aud', { sub: 'ada', iss: right.iss }],
  ])('a token with another %s, or none, is rejected with the name of the claim: %j', async (claim, payload) => {
    const error = await refusal(tokens, await signed(payload, SECRET_BYTES));
    expect(error).toMatchObject({ code: 'UNAUTHORIZED', message: expect.stringMatching(`"${claim}"`) });
  });
});

describe('by a fetched key set', () => {
  let server: Server;
  let url: URL;
  let keys: JWK[] = [];
  let fetched = 0;
  let rsa: { privateKey: CryptoKey; publicKey: CryptoKey };
  let elliptic: { privateKey: CryptoKey; publicKey: CryptoKey };

  beforeAll(async () => {
    rsa = await generateKeyPair('RS256', { extractable: true });
    elliptic = await generateKeyPair('ES256', { extractable: true });
    keys = [
      { ...(await exportJWK(rsa.publicKey)), kid: 'one', alg: 'RS256', use: 'sig' },
      { ...(await exportJWK(elliptic.publicKey)), kid: 'two', alg: 'ES256', use: 'sig' },
    ];
    server = createServer((_, response) => {
      fetched += 1;
      response.setHeader('Content-Type', 'application/json').end(JSON.stringify({ keys }));
    });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`);
  });

  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => void server.close(resolve));
  });

  test('tokens signed with one of the fetched keys are accepted after one fetch', async () => {
    const tokens = fetching(url);
    fetched = 0;
    const signedWith = await Promise.all([
      signed({ sub: 'ada' }, rsa.privateKey, { alg: 'RS256', kid: 'one' }),
      signed({ sub: 'bob' }, elliptic.privateKey, { alg: 'ES256', kid: 'two' }),
    ]);
    const verified = await Promise.all([...signedWith, ...signedWith].map((token) => tokens.verify(token)));
    expect(verified.map(({ subject }) => subject)).toEqual(['ada', 'bob', 'ada', 'bob']);
    expect(fetched).toBe(1);
  });

  test('a token signed with a key outside the set is rejected', async () => {
    const { privateKey } = await generateKeyPair('RS256');
    for (const kid of ['one', 'three']) {
      const token = await signed({ sub: 'ada' }, privateKey, { alg: 'RS256', kid });
      expect(await refusal(fetching(url), token)).toMatchObject({ code: 'UNAUTHORIZED' });
    }
  });

  test('a token that uses the public key as a shared secret is rejected', async () => {
    const publicText = new TextEncoder().encode(await exportSPKI(rsa.publicKey));
    const token = await signed({ sub: 'ada' }, publicText, { alg: 'HS256', kid: 'one' });
    expect(await refusal(fetching(url), token)).toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('a token without a signature is rejected where keys are fetched', async () => {
    const token = new UnsecuredJWT({ sub: 'ada' }).encode();
    expect(await refusal(fetching(url), token)).toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('expired tokens and tokens of another issuer are rejected', async () => {
    const tokens = fetching(url, { issuer: 'https://id.example.org' });
    for (const payload of [
      { sub: 'ada', iss: 'https://id.example.org', exp: nowS() - 1 },
      { sub: 'ada', iss: 'https://evil.test' },
    ]) {
      const token = await signed(payload, elliptic.privateKey, { alg: 'ES256', kid: 'two' });
      expect(await refusal(tokens, token)).toMatchObject({ code: 'UNAUTHORIZED' });
    }
  });

  test.each([
    ['an error', 500, '{}'],
    ['a page', 200, '<h1>Down for maintenance</h1>'],
    ['something else', 200, '{"hello":"world"}'],
  ])('a response of the key server with %s leaves the token unjudged', async (_what, status, body) => {
    const broken = createServer((_request, response) => void response.writeHead(status).end(body));
    await new Promise<void>((resolve) => void broken.listen(0, '127.0.0.1', resolve));
    const tokens = fetching(new URL(`http://127.0.0.1:${(broken.address() as AddressInfo).port}/keys`));
    const token = await signed({ sub: 'ada' }, rsa.privateKey, { alg: 'RS256', kid: 'one' });
    expect(await refusal(tokens, token)).toMatchObject({ code: 'UNAVAILABLE', retryable: true });
    broken.closeAllConnections();
    await new Promise((resolve) => void broken.close(resolve));
  });

  test('a failed fetch of the keys leaves the token unjudged, and a later retry may accept it', async () => {
    const closed = createServer();
    await new Promise<void>((resolve) => void closed.listen(0, '127.0.0.1', resolve));
    const { port } = closed.address() as AddressInfo;
    await new Promise((resolve) => void closed.close(resolve));
    const tokens = fetching(new URL(`http://127.0.0.1:${port}/keys`));
    const token = await signed({ sub: 'ada' }, rsa.privateKey, { alg: 'RS256', kid: 'one' });
    expect(await refusal(tokens, token)).toMatchObject({ code: 'UNAVAILABLE', retryable: true, retryAfterMs: 1_000 });
  });
});

function fetching(jwksUrl: URL, claims: { issuer?: string } = {}): TokenVerifier {
  return new TokenVerifier({ jwksUrl, ...claims }, new KeySet(jwksUrl, systemClock, () => undefined));
}

function signed(
  payload: JWTPayload,
  key: CryptoKey | Uint8Array,
  header: { alg: string; kid?: string } = { alg: 'HS256' },
) {
  return new SignJWT(payload).setProtectedHeader(header).sign(key);
}

async function refusal(tokens: TokenVerifier, token: string): Promise<unknown> {
  const error = await tokens.verify(token).catch((thrown: unknown) => thrown);
  if (!(error instanceof ProtocolError)) throw new Error(`not refused: ${JSON.stringify(error)}`);
  return error.body;
}
