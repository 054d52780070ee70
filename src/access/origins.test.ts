import type { IncomingMessage } from 'node:http';
import { expect, test } from '@jest/globals';
import { Origins } from './origins.js';

test.each([
  ['no origin: not a browser', undefined, true],
  ['the same origin', 'https://counts.example.org', true],
  ['the same host by another scheme, which a balancer may have ended', 'http://counts.example.org', true],
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
])('%s', (_, origin, allowed) => {
  const origins = new Origins(['https://example.org']);
  expect(origins.allows(request(origin, 'counts.example.org'))).toBe(allowed);
});

test('the same host at another port is another origin', () => {
  const origins = new Origins([]);
  expect(origins.allows(request('http://127.0.0.1:5173', '127.0.0.1:3000'))).toBe(false);
  expect(origins.allows(request('http://127.0.0.1:3000', '127.0.0.1:3000'))).toBe(true);
});

test('a request without a host has no origin of its own', () => {
  expect(new Origins([]).allows(request('https://example.org', undefined))).toBe(false);
});

test('with * all are allowed', () => {
  const origins = new Origins(['*']);
  expect(origins.lists('https://anywhere.test')).toBe(true);
  expect(origins.allows(request('null', 'counts.example.org'))).toBe(true);
});

test('for the headers of other origins only listed ones count', () => {
  const origins = new Origins(['https://example.org']);
  expect(['https://example.org', 'https://counts.example.org'].map((origin) => origins.lists(origin))).toEqual([
    true,
    false,
  ]);
});

function request(origin: string | undefined, host: string | undefined): IncomingMessage {
  return { headers: { origin, host } } as unknown as IncomingMessage;
}
