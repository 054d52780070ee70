import { describe, expect, it } from '@jest/globals';
import { isOnServer, parseLogUrl } from './log-url.js';
import { parseRedisUrl } from './redis-url.js';

describe('LOG_URL', () => {
  it.each([
    ['http://127.0.0.1', 'must be redis://host:port or redis+sentinel://'],
    ['127.0.0.1:6379', 'must be redis://host:port or redis+sentinel://'],
    ['redis+cluster://one,two', 'names a cluster, and a log is on one server: use redis://host:port or redis+sentinel'],
    ['redis://one,two', 'names several hosts'],
    ['redis://:s3cret/word@one', 'names a database that is not a number'],
  ])('%s is rejected, without its password', (text, message) => {
    expect(() => parseLogUrl(text)).toThrow(message);
    expect(() => parseLogUrl(text)).not.toThrow('s3cret');
  });

  it('a log is one server, or one that sentinels guard, with or without TLS', () => {
    for (const text of ['redis://log:6380/2', 'rediss://:pass@log', 'redis+sentinel://one,two/log'])
      expect(parseLogUrl(text)).toEqual({ scheme: 'redis', redis: parseRedisUrl(text) });
  });

  it.each([
    ['redis://one', 'redis://one:6379/1', true],
    ['redis://one:6380', 'redis://one', false],
    ['redis://two', 'redis+cluster://one,two,three', true],
    ['redis+sentinel://one,two/counts', 'redis+sentinel://two,three/counts', true],
    ['redis+sentinel://one,two/log', 'redis+sentinel://one,two/counts', false],
  ])('a log at %s beside a store at %s is on the same server: %s', (log, store, expected) => {
    expect(isOnServer(parseLogUrl(log), parseRedisUrl(store))).toBe(expected);
  });
});
