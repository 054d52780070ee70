import { describe, expect, it } from '@jest/globals';
import { isOnServer, parseLogUrl } from './log-url.js';
import { parseRedisUrl } from './redis-url.js';

describe('LOG_URL', () => {
  it.each([
    ['nats://token@one', 'has to end with ?stream= and the name of a stream'],
    ['nats://ann:s3cret%zz@one?stream=EVENTS', 'has a % in its login'],
    ['nats://:s3cret@one?stream=EVENTS', 'has a password without a user'],
    ['nats://one/EVENTS', 'has a path'],
    ['nats://one:99999?stream=EVENTS', 'is no URL'],
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

  it('a log may be a stream of NATS', () => {
    expect(parseLogUrl('nats+tls://ann:pass@log?stream=EVENTS')).toEqual({
      scheme: 'nats',
      nats: { server: 'log:4222', stream: 'EVENTS', tls: true, login: { user: 'ann', password: 'pass' } },
    });
  });

  it.each([
    ['nats://one?stream=EVENTS', 'redis://one', false],
    ['redis://one', 'redis://one:6379/1', true],
    ['redis://one:6380', 'redis://one', false],
    ['redis://two', 'redis+cluster://one,two,three', true],
    ['redis+sentinel://one,two/counts', 'redis+sentinel://two,three/counts', true],
    ['redis+sentinel://one,two/log', 'redis+sentinel://one,two/counts', false],
  ])('a log at %s beside a store at %s is on the same server: %s', (log, store, expected) => {
    expect(isOnServer(parseLogUrl(log), parseRedisUrl(store))).toBe(expected);
  });
});
