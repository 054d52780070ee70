import { describe, expect, it } from '@jest/globals';
import { checkWebhookUrl, formatSinkUrl, parseFileUrl, parseNatsUrl, parseSinkSecret } from './sink-urls.js';

/** @returns the message of what the call throws */
function failureOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('nothing was thrown');
}

describe('URLs of sinks', () => {
  it('names have neither logins nor queries', () => {
    const url = new URL('https://ann:pass@hooks.example:8443/counts?token=secret');
    expect(formatSinkUrl(url)).toBe('https://hooks.example:8443/counts');
  });

  it('webhooks are https, or http to this host', () => {
    for (const text of [
      'https://hooks.example/a?b',
      'http://localhost:3000/',
      'http://127.0.0.1',
      'http://[::1]:80/',
    ]) {
      expect(() => checkWebhookUrl(new URL(text))).not.toThrow();
    }
    for (const text of ['http://hooks.example/', 'http://127.0.0.1.evil.example/', 'http://localhost.example/']) {
      expect(failureOf(() => checkWebhookUrl(new URL(text)))).toContain('in the clear; use https');
    }
    expect(failureOf(() => checkWebhookUrl(new URL('http://ann:pass@hooks.example/')))).toBe(
      'SINK_URL http://hooks.example/: would send counts in the clear; use https, or http to this host alone',
    );
    expect(failureOf(() => checkWebhookUrl(new URL('https://hooks.example/#a')))).toContain('fragment');
  });

  it('files are absolute paths', () => {
    expect(parseFileUrl(new URL('file:///var/lib/my%20counts.ndjson'))).toBe('/var/lib/my counts.ndjson');
    expect(failureOf(() => parseFileUrl(new URL('file://counts.ndjson')))).toContain('names the host counts.ndjson');
    expect(failureOf(() => parseFileUrl(new URL('file:///var/lib/')))).toContain('names a directory');
    expect(failureOf(() => parseFileUrl(new URL('file:///counts?a')))).toContain('has a ?');
    expect(failureOf(() => parseFileUrl(new URL('file:///a%2Fb')))).toContain('has a %');
  });

  it('NATS has a server, a stream and perhaps a login', () => {
    expect(parseNatsUrl(new URL('nats://ann:p%40ss@nats.example?stream=COUNTS'))).toEqual({
      server: 'nats.example:4222',
      stream: 'COUNTS',
      tls: false,
      login: { user: 'ann', password: 'p@ss' },
    });
    expect(parseNatsUrl(new URL('nats+tls://t0ken@[::1]:4333/?stream=a-b_1'))).toEqual({
      server: '[::1]:4333',
      stream: 'a-b_1',
      tls: true,
      login: { user: 't0ken', password: '' },
    });
    for (const query of ['', '?stream=', '?stream=a.b', '?stream=a&x=1', '?Stream=a']) {
      const text = `nats://ann:pass@nats.example${query}`;
      const failure = failureOf(() => parseNatsUrl(new URL(text)));
      expect(failure).toContain('?stream=');
      expect(failure).not.toContain('pass');
    }
    expect(failureOf(() => parseNatsUrl(new URL('nats://nats.example/a?stream=b')))).toContain('has a path');
    expect(failureOf(() => parseNatsUrl(new URL('nats:?stream=b')))).toContain('names no host');
    expect(failureOf(() => parseNatsUrl(new URL('nats://a%zz@nats.example?stream=b')))).toContain('has a %');
  });

  it('secrets are 24 to 64 bytes in base64', () => {
    const base64 = Buffer.alloc(32, 7).toString('base64');
    expect(parseSinkSecret(`whsec_${base64}`)).toEqual(Buffer.alloc(32, 7));
    expect(parseSinkSecret(base64)).toEqual(Buffer.alloc(32, 7));
    const wrong = [
      '',
      'whsec_',
      'correct horse battery staple, and more',
      'whsec_YWJj',
      Buffer.alloc(65).toString('base64'),
    ];
    for (const text of wrong) {
      const failure = failureOf(() => parseSinkSecret(text));
      expect(failure).toContain('24 to 64 random bytes in base64');
      if (text !== '' && text !== 'whsec_') expect(failure).not.toContain(text);
    }
  });
});
