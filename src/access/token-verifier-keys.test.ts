import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type CryptoKey, exportJWK, exportSPKI, generateKeyPair, type JWK, type JWTPayload, UnsecuredJWT } from 'jose';
import { createVerifier, refusal, SECRET_BYTES, signed } from '../../test/support/token-verifier.js';
import { systemClock } from '../common/clock.js';
import type { JwtSettings } from '../config/jwt-settings.js';
import { KeySet } from './key-set.js';
import type { TokenVerifier } from './token-verifier.js';

const HOUR_S = 3_600;
const nowS = (): number => Math.floor(Date.now() / 1000);

describe('by a fetched key set', () => {
  let server: Server;
  let url: URL;
  let keys: JWK[] = [];
  let fetched = 0;
  let rsa: { privateKey: CryptoKey; publicKey: CryptoKey };
  let second: typeof rsa;
  let elliptic: typeof rsa;
  let edwards: typeof rsa;

  beforeAll(async () => {
    rsa = await generateKeyPair('RS256', { extractable: true });
    second = await generateKeyPair('ES256', { extractable: true });
    elliptic = await generateKeyPair('ES256', { extractable: true });
    edwards = await generateKeyPair('EdDSA', { extractable: true });
    keys = [
      { ...(await exportJWK(rsa.publicKey)), kid: 'one', alg: 'RS256', use: 'sig' },
      { ...(await exportJWK(elliptic.publicKey)), kid: 'two', alg: 'ES256', use: 'sig' },
      // Some providers leave `alg` or `use` out, and some list keys for encryption, too.
      { ...(await exportJWK(edwards.publicKey)), kid: 'three' },
      { ...(await exportJWK(second.publicKey)), kid: 'four', use: 'sig' },
      { ...(await exportJWK(rsa.publicKey)), kid: 'five', alg: 'RSA-OAEP', use: 'enc' },
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

  test.each<['RS256' | 'ES256' | 'EdDSA', string, object]>([
    [
      'RS256',
      'Auth0',
      { iss: 'https://shop.eu.auth0.com/', sub: 'auth0|6531', aud: ['counts', 'https://shop.eu.auth0.com/userinfo'] },
    ],
    ['RS256', 'Firebase', { iss: 'https://securetoken.google.com/shop', aud: 'counts', sub: 'u1', user_id: 'u1' }],
    ['ES256', 'Supabase', { iss: 'https://shop.supabase.co/auth/v1', aud: 'counts', sub: randomUUID(), role: 'anon' }],
    [
      'RS256',
      'Keycloak',
      { iss: 'https://id.test/realms/shop', aud: ['counts', 'account'], typ: 'Bearer', sub: 'f:1' },
    ],
    ['RS256', 'Cognito (ID token)', { aud: 'counts', token_use: 'id', 'cognito:username': 'ada', sub: randomUUID() }],
    ['EdDSA', 'a server of the site', { aud: 'counts', sub: 42 }],
  ])('an ordinary token, signed by %s, of %s is accepted', async (alg, _provider, claims) => {
    const { kid, by } = {
      RS256: { kid: 'one', by: rsa },
      ES256: { kid: 'two', by: elliptic },
      EdDSA: { kid: 'three', by: edwards },
    }[alg];
    const payload = { iat: nowS(), exp: nowS() + HOUR_S, ...claims } as JWTPayload;
    const token = await signed(payload, by.privateKey, { alg, kid });
    expect((await fetching(url, { audience: 'counts' }).verify(token)).subject).toBe(
      String((claims as { sub: unknown }).sub),
    );
  });

  test('tokens without audience, of Clerk and access tokens of Cognito, are accepted unless JWT_AUDIENCE is set', async () => {
    const claims = { sub: 'user_2', azp: 'https://shop.test', client_id: '7', nbf: nowS() - 10, exp: nowS() + HOUR_S };
    const token = await signed(claims, rsa.privateKey, { alg: 'RS256', kid: 'one' });
    expect((await fetching(url).verify(token)).subject).toBe('user_2');
  });

  test('a token that does not name its key is verified by each key that fits', async () => {
    const { privateKey } = await generateKeyPair('ES256');
    const verify = async (key: CryptoKey): Promise<boolean> => {
      const token = await signed({ sub: 'ada' }, key, { alg: 'ES256' });
      return (
        (await fetching(url)
          .verify(token)
          .catch(() => null)) !== null
      );
    };
    expect(await Promise.all([elliptic.privateKey, second.privateKey, privateKey].map(verify))).toEqual([
      true,
      true,
      false,
    ]);
  });

  test.each([
    [
      'signed with a secret',
      () => signed({ sub: 'ada' }, SECRET_BYTES),
      'signed with "HS256", and JWT_JWKS_URL verifies signatures',
      'set JWT_SECRET instead',
    ],
    [
      'with an unknown key',
      () => signed({ sub: 'ada' }, rsa.privateKey, { alg: 'RS256', kid: 'old' }),
      'signed with the key "old", and JWT_JWKS_URL has none like it',
      'that of the issuer',
    ],
    [
      'with the name of another key',
      () => signed({ sub: 'ada' }, elliptic.privateKey, { alg: 'ES256', kid: 'four' }),
      'signature does not match JWT_JWKS_URL',
      'that of the issuer',
    ],
    ['that is encrypted', () => 'a.b.c.d.e', 'encrypted (JWE)', 'access token or the ID token'],
  ])('a token %s is rejected with the cause and, in the log, the remedy', async (_title, make, message, remedy) => {
    const lines: string[] = [];
    const error = await refusal(fetching(url, {}, lines), await make());
    expect(error).toMatchObject({ code: 'UNAUTHORIZED', message: expect.stringContaining(message) });
    expect(lines).toEqual([expect.stringContaining(remedy)]);
  });

  test('a token signed with a key outside the set is rejected', async () => {
    const { privateKey } = await generateKeyPair('ES256');
    for (const kid of ['two', 'six']) {
      const token = await signed({ sub: 'ada' }, privateKey, { alg: 'ES256', kid });
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

function fetching(jwksUrl: URL, claims: Partial<JwtSettings> = {}, lines: string[] = []): TokenVerifier {
  return createVerifier({ jwksUrl, ...claims }, { keys: new KeySet(jwksUrl, systemClock, () => undefined), lines });
}
