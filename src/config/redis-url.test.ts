import { describe, expect, it } from '@jest/globals';
import { parseRedisUrl } from './redis-url.js';

const PLAIN = { master: '', login: null, sentinelLogin: null, tls: false, database: 0 };

describe('REDIS_URL', () => {
  it.each([
    ['redis://localhost', { ...PLAIN, kind: 'single', addresses: [{ host: 'localhost', port: 6379 }] }],
    ['redis://10.0.0.1:6390/', { ...PLAIN, kind: 'single', addresses: [{ host: '10.0.0.1', port: 6390 }] }],
    ['rediss://[::1]:1/2', { ...PLAIN, kind: 'single', addresses: [{ host: '::1', port: 1 }], tls: true, database: 2 }],
    [
      'redis://ann:p%40ss%3Aw%2Frd@r',
      {
        ...PLAIN,
        kind: 'single',
        addresses: [{ host: 'r', port: 6379 }],
        login: { username: 'ann', password: 'p@ss:w/rd' },
      },
    ],
    [
      'redis://:a:@b@r',
      { ...PLAIN, kind: 'single', addresses: [{ host: 'r', port: 6379 }], login: { username: null, password: 'a:@b' } },
    ],
    [
      'redis+sentinel://a,b:1,[fe80::1]/counts',
      {
        ...PLAIN,
        kind: 'sentinel',
        addresses: [
          { host: 'a', port: 26379 },
          { host: 'b', port: 1 },
          { host: 'fe80::1', port: 26379 },
        ],
        master: 'counts',
      },
    ],
    [
      'rediss+sentinel://u:p@a/counts/3?sentinel_username=s&sentinel_password=t%26',
      {
        kind: 'sentinel',
        addresses: [{ host: 'a', port: 26379 }],
        master: 'counts',
        login: { username: 'u', password: 'p' },
        sentinelLogin: { username: 's', password: 't&' },
        tls: true,
        database: 3,
      },
    ],
    [
      'redis+sentinel://a/counts?sentinel_password=t',
      {
        ...PLAIN,
        kind: 'sentinel',
        addresses: [{ host: 'a', port: 26379 }],
        master: 'counts',
        sentinelLogin: { username: null, password: 't' },
      },
    ],
    [
      'redis+cluster://a:7000,b/',
      {
        ...PLAIN,
        kind: 'cluster',
        addresses: [
          { host: 'a', port: 7000 },
          { host: 'b', port: 6379 },
        ],
      },
    ],
  ])('the URL %s is parsed', (text, target) => {
    expect(parseRedisUrl(text)).toEqual(target);
  });

  it.each([
    ['', 'must be redis://'],
    ['localhost:6379', 'must be redis://'],
    ['http://localhost', 'must be redis://'],
    ['redis:localhost', 'must be redis://'],
    ['redis+sentinels://a/m', 'must be redis://'],
    ['redis://a#b', 'must be redis://'],
    ['redis://', 'has a host that is not'],
    ['redis://:6379', 'has a host that is not'],
    ['redis://a:0', 'a port from 1 to 65535'],
    ['redis://a:65536', 'a port from 1 to 65535'],
    ['redis://a:x', 'has a host that is not'],
    ['redis://::1', 'has a host that is not'],
    ['redis://[zz]', 'has a host that is not'],
    ['redis://a b', 'has a host that is not'],
    ['redis://a,b', 'names several hosts'],
    ['redis://a/x', 'names a database that is not a number'],
    ['redis://a/1/2', 'names a database that is not a number'],
    ['redis://a?db=1', 'parameters after ?'],
    ['redis+sentinel://a', 'must name the primary'],
    ['redis+sentinel://a/', 'must name the primary'],
    ['redis+sentinel://a/a b', 'must name the primary'],
    ['redis+sentinel://a,,b/m', 'has a host that is not'],
    ['redis+sentinel://a/m?sentinel_username=s', 'without sentinel_password'],
    ['redis+sentinel://a/m?sentinel_password=', 'without a password'],
    ['redis+sentinel://a/m?password=s', 'unknown parameter'],
    ['redis+cluster://a/1', 'names a database'],
    ['redis+cluster://a,b?x', 'parameters after ?'],
    ['redis://ann@a', 'has a user without a password'],
    ['redis://ann:@a', 'has a user without a password'],
    ['redis://:%zz@a', '%25'],
  ])('the URL %s is rejected: %s', (text, reason) => {
    expect(() => parseRedisUrl(text)).toThrow(reason);
  });

  it.each([
    'redis://ann:s3cret@a:x',
    'redis://ann:s3cret@a/x',
    'redis://ann:s3c%ret@a',
    'redis://ann:s3/cret@a',
    'redis://ann:s3#cret@a',
    'redis://ann:s3?cret@a',
    'redis://ann:s3cret,b@a,c',
    'redis+sentinel://a/m?sentinel_password=s3cret&x',
    'redis+sentinel://a/m?s3cret=x',
  ])('the error about the URL %s does not contain its password', (text) => {
    let message = '';
    try {
      parseRedisUrl(text);
    } catch (error) {
      message = String(error);
    }
    expect(message).not.toBe('');
    expect(message).not.toMatch(/s3|cret/);
    expect(message).not.toContain('\n');
  });
});
