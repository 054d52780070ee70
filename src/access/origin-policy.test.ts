import type { IncomingMessage } from 'node:http';
import { describe, expect, test } from '@jest/globals';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { OriginPolicy } from './origin-policy.js';
import { ThrottledLog } from './throttled-log.js';

describe('a request with an origin', () => {
  test.each([
    ['the own origin', 'https://counts.example.org', true],
    ['the own host by another scheme', 'http://counts.example.org', false],
    ['a listed origin', 'https://example.org', true],
    ['a listed host by another scheme', 'http://example.org', false],
    ['a listed host at another port', 'https://example.org:8443', false],
    ['a host that ends like a listed one', 'https://evil-example.org', false],
    ['a subdomain of a listed one', 'https://www.example.org', false],
    ['a host that begins like the own', 'https://counts.example.org.evil.test', false],
    ['the own host as a user name', 'https://counts.example.org@evil.test', false],
    ['an opaque origin', 'null', false],
    ['no address at all', 'counts.example.org', false],
    ['nothing', '', false],
  ])('a request from %s is judged by its origin', (_, origin, allowed) => {
    const origins = listing({ allowed: ['https://example.org'], own: ['https://counts.example.org'] });
    expect(origins.findRejection(request({ origin, host: 'counts.example.org' })) === null).toBe(allowed);
  });

  test.each([
    ['http://127.0.0.1:3000', '127.0.0.1:3000', true],
    ['http://127.0.0.1:5173', '127.0.0.1:3000', false],
    ['http://localhost:3000', 'localhost:3000', true],
    ['https://192.0.2.7', '192.0.2.7:443', true],
    ['http://[2001:db8::1]:3000', '[2001:db8::1]:3000', true],
    ['http://rebound.test:3000', 'rebound.test:3000', false],
    ['http://127.0.0.1.rebound.test', '127.0.0.1.rebound.test', false],
    ['https://example.org', undefined, false],
  ])('without PUBLIC_URL, origin %s at host %s is allowed: %s', (origin, host, allowed) => {
    expect(listing({}).findRejection(request({ origin, host })) === null).toBe(allowed);
  });
});

describe('an entry of ALLOWED_ORIGINS', () => {
  const EXTENSION = 'chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb';
  const allowed = [
    ...['https://example.org', 'http://localhost:5173', 'https://*.example.com', 'https://*.example.net:8443'],
    ...['capacitor://localhost', 'ionic://localhost', 'tauri://localhost', 'app://.', EXTENSION, 'null'],
  ];

  test.each([
    'https://example.org',
    'http://localhost:5173',
    'https://www.example.com',
    'https://a.b-c.d_e.example.com',
    'https://xn--bcher-kva.example.com',
    'https://shop.example.net:8443',
    'capacitor://localhost',
    'ionic://localhost',
    'tauri://localhost',
    'app://.',
    EXTENSION,
    'null',
  ])('an entry allows pages of %s, also by CORS', (origin) => {
    const origins = listing({ allowed, own: ['https://counts.example.org'] });
    expect(origins.findRejection(request({ origin, host: 'counts.example.org' }))).toBeNull();
    expect(origins.isListed(origin)).toBe(true);
  });

  test.each([
    'https://example.com',
    'https://.example.com',
    'https://evilexample.com',
    'https://example.com.evil.test',
    'https://evil.test/.example.com',
    'https://evil.test#.example.com',
    'https://evil@www.example.com',
    'http://www.example.com',
    'https://www.example.com:8443',
    'https://shop.example.net',
    'capacitor://localhost:8080',
    'capacitor://evil.test',
    'tauri://localhost.evil.test',
    'app://shop',
    'chrome-extension://bapbdbdomjkkjkaonfhkkikfgjllcleb',
    'NULL',
  ])('no entry allows pages of %s', (origin) => {
    const origins = listing({ allowed, own: ['https://counts.example.org'] });
    expect(origins.findRejection(request({ origin, host: 'counts.example.org' }))).not.toBeNull();
    expect(origins.isListed(origin)).toBe(false);
  });

  test('an entry for subdomains covers pages of the gateway under such a name that send no origin', () => {
    const origins = listing({ allowed });
    const judge = (host: string): boolean => origins.findRejection(request({ host, site: 'same-origin' })) === null;
    expect(['live.example.com', 'example.com', 'live.example.com.evil.test'].map(judge)).toEqual([true, false, false]);
  });

  test('an app has no origin of the gateway, whatever its host', () => {
    const origins = listing({});
    expect(origins.findRejection(request({ origin: 'app://localhost', host: 'localhost' }))).not.toBeNull();
  });
});

describe('a rejected origin', () => {
  test('a rejected origin is logged once a minute with the entry that would allow it, and each request is counted', async () => {
    const lines: string[] = [];
    const clock = new SimulatedClock();
    const origins = listing({ allowed: ['https://example.org'], clock, warn: (line) => lines.push(line) });
    const reject = (origin: string): void => {
      const handshake = request({ origin, host: 'counts.example.org' });
      for (let i = 0; i < 2; i++) origins.findRejection(handshake);
    };
    for (let i = 0; i < 3; i++) reject('capacitor://localhost');
    reject('null');
    expect(lines).toEqual([
      'rejected a page of capacitor://localhost: if it is yours, add it: ALLOWED_ORIGINS=https://example.org,capacitor://localhost',
      expect.stringMatching(/^rejected a page without an origin \(.+ALLOWED_ORIGINS=https:\/\/example\.org,null$/),
    ]);
    await clock.advance(60_000);
    reject('null');
    expect(lines).toHaveLength(3);
    expect(origins.rejections).toBe(5);
  });

  test('a log names at most ten origins a minute, and none that no browser sends', () => {
    const lines: string[] = [];
    const origins = listing({ warn: (line) => lines.push(line) });
    const texts = ['https://*.example.org', '*', 'x', 'https://a,https://b', 'https://example.org/path', 'a\nb'];
    for (const origin of texts) origins.findRejection(request({ origin, host: 'counts.example.org' }));
    expect(lines).toEqual([]);
    for (let i = 0; i < 20; i++) origins.findRejection(request({ origin: `https://n${i}.test`, host: 'a.test' }));
    expect(lines).toHaveLength(10);
  });
});

describe('a picture', () => {
  test.each([
    [{}, true],
    [{ site: 'cross-site' }, true],
    [{ site: 'cross-site', referer: 'https://example.org/a?b#c' }, true],
    [{ site: 'same-origin', referer: 'https://counts.example.org/' }, true],
    [{ site: 'none', referer: 'https://evil.test/' }, false],
    [{ referer: 'https://example.org.evil.test/' }, false],
    [{ referer: 'https://example.org@evil.test/' }, false],
    [{ referer: 'example.org' }, false],
    [{ referer: '' }, false],
    [{ referer: 'tauri://localhost/index.html' }, true],
    [{ origin: 'https://evil.test', referer: 'https://example.org/' }, false],
  ])('a picture for %j is allowed: %s', (fields, isAllowed) => {
    const allowed = ['https://example.org', 'tauri://localhost'];
    const origins = listing({ allowed, own: ['https://counts.example.org'] });
    const shown = request({ host: 'counts.example.org', ...fields });
    expect(origins.findPictureRejection(shown) === null).toBe(isAllowed);
  });
});

describe('a request without an origin', () => {
  test.each([
    ['of no browser', {}, true],
    ['that a person typed', { site: 'none' }, true],
    ['of a page at the own name', { site: 'same-origin' }, true],
    ['of a page at the own name, with the usual port', { site: 'same-origin', host: 'Counts.example.org:443' }, true],
    ['of a page at a name that is not known', { site: 'same-origin', host: 'rebound.test' }, false],
    ['of a page at no name', { site: 'same-origin', host: undefined }, false],
    ['of another site', { site: 'cross-site' }, false],
    ['of a neighbour', { site: 'same-site' }, false],
    ['of a site of a kind to come', { site: 'friend' }, false],
    ['of another site, to be shown as a page', { site: 'cross-site', mode: 'navigate', dest: 'document' }, true],
    ['of another site, to be shown in its frame', { site: 'cross-site', mode: 'navigate', dest: 'iframe' }, false],
    [
      'of another site, that changes something',
      { site: 'cross-site', mode: 'navigate', dest: 'document', method: 'POST' },
      false,
    ],
  ])('a request %s is judged by its Sec-Fetch headers', (_, fields, allowed) => {
    const origins = listing({ own: ['https://counts.example.org'] });
    expect(origins.findRejection(request({ host: 'counts.example.org', ...fields })) === null).toBe(allowed);
  });
});

test('ALLOWED_ORIGINS=* allows every origin', () => {
  const origins = listing({ allowed: ['*'] });
  expect(origins.isListed('https://anywhere.test')).toBe(true);
  expect(origins.findRejection(request({ origin: 'null', host: 'counts.example.org' }))).toBeNull();
  expect(origins.findRejection(request({ site: 'cross-site' }))).toBeNull();
});

test('only listed origins get CORS headers', () => {
  const origins = listing({ allowed: ['https://example.org'], own: ['https://counts.example.org'] });
  expect(['https://example.org', 'https://counts.example.org'].map((origin) => origins.isListed(origin))).toEqual([
    true,
    false,
  ]);
});

test("a host name that may be the gateway's own is reported once, with the setting that allows it, and ten names at most", () => {
  const warnings: string[] = [];
  const warn = (message: string): unknown => message.includes('PUBLIC_URL') && warnings.push(message);
  const origins = listing({ own: ['https://one.test'], warn });
  for (let i = 0; i < 2; i++) origins.findRejection(request({ origin: 'https://two.test', host: 'two.test' }));
  origins.findRejection(request({ origin: 'https://elsewhere.test', host: 'two.test' }));
  expect(warnings).toEqual([expect.stringMatching(/set PUBLIC_URL=https:\/\/one\.test,https:\/\/two\.test$/)]);
  for (let i = 0; i < 20; i++) origins.findRejection(request({ site: 'same-origin', host: `n${i}.test` }));
  expect(warnings).toHaveLength(10);
});

interface Lists {
  readonly allowed?: string[];
  readonly own?: string[];
  readonly warn?: (message: string) => void;
  readonly clock?: SimulatedClock;
}

function listing({
  allowed = [],
  own = [],
  warn = () => undefined,
  clock = new SimulatedClock(),
}: Lists): OriginPolicy {
  return new OriginPolicy({ allowed, own, warn, log: new ThrottledLog(clock, warn) });
}

interface RequestFields {
  readonly origin?: string | undefined;
  readonly host?: string | undefined;
  readonly site?: string;
  readonly referer?: string;
  readonly mode?: string;
  readonly dest?: string;
  readonly method?: string;
}

function request({ origin, host, site, referer, mode, dest, method = 'GET' }: RequestFields): IncomingMessage {
  const headers = { origin, host, referer, 'sec-fetch-site': site, 'sec-fetch-mode': mode, 'sec-fetch-dest': dest };
  return { method, headers } as unknown as IncomingMessage;
}
