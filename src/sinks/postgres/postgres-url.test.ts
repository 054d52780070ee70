import { expect, it } from '@jest/globals';
import { parsePostgresUrl } from './postgres-url.js';

it('a URL has all that a connection needs, and a name without its login', () => {
  const url = new URL(
    'postgres://us%40er:p%2Fw%3A%40@[::1]:6432/my%20db?schema=tally&sslmode=verify-full&sslrootcert=/ca.pem',
  );
  expect(parsePostgresUrl(url)).toEqual({
    ...{ host: '::1', port: 6432, user: 'us@er', password: 'p/w:@', database: 'my db', schema: 'tally' },
    ...{ tls: 'verify-full', rootCertificate: '/ca.pem' },
    name: 'postgres://[::1]:6432/my db?schema=tally',
  });
});

it('a short URL has defaults', () => {
  expect(parsePostgresUrl(new URL('postgres://user@db.example/counts'))).toEqual({
    ...{ host: 'db.example', port: 5432, user: 'user', password: undefined, database: 'counts', schema: 'public' },
    ...{ tls: 'disable', rootCertificate: null },
    name: 'postgres://db.example:5432/counts',
  });
});

it('the case of a host makes no other sink, unlike that of a socket', () => {
  expect(parsePostgresUrl(new URL('postgres://user@DB.Example/counts')).name).toBe('postgres://db.example:5432/counts');
  expect(parsePostgresUrl(new URL('postgres://user@%2FRun%2Fpg/counts')).host).toBe('/Run/pg');
});

it.each([
  ['postgres:///counts', 'names no host: write postgres://user:password@host:5432/database'],
  ['postgres://host/counts', 'names no user: write postgres://user:password@host:5432/database'],
  ['postgres://user:secret@host', 'names no database: end with /database after the host'],
  ['postgres://user:secret@host/', 'names no database: end with /database after the host'],
  ['postgres://user:secret@host/a/b', 'names no database: end with /database after the host'],
  ['postgres://user:secret@host/a?ssl=1', 'has the unknown parameter "ssl"; expected schema, sslmode, sslrootcert'],
  ['postgres://user:secret@host/a?sslmode=prefer', 'has an unknown sslmode; expected disable, require, verify-full'],
  [
    'postgres://user:secret@host/a?sslmode=require&sslrootcert=/a',
    'has sslrootcert without sslmode=verify-full, which alone checks certificates',
  ],
  ['postgres://user:secret@host/a?schema=', 'has a schema that is not a name of 1 to 63 bytes'],
  [`postgres://user:secret@host/a?schema=${'é'.repeat(32)}`, 'has a schema that is not a name of 1 to 63 bytes'],
  ['postgres://user:secret@host/a?schema=pg_temp', 'has a schema that begins with pg_: name one of your own'],
  ['postgres://user:secret@host/a?schema=a%0Ab', 'has a control character, such as %00 or %0A: remove it'],
  ['postgres://user:sec%00ret@host/a', 'has a control character, such as %00 or %0A: remove it'],
  [
    'postgres://user:secret@host/a?sslmode=disable&sslmode=verify-full',
    'has the parameter sslmode twice: write it once',
  ],
  ['postgres://user:secret@host/a#b', 'has a # after the database: write it as %23 if a name has one'],
  ['postgres://user:secret@host:0/a', 'has port 0: write that of the server, such as 5432'],
  ['postgres://user:100%@host/a', 'has a % that is not followed by two hex digits: write it as %25'],
])('%s is rejected', (url, message) => {
  expect(() => parsePostgresUrl(new URL(url))).toThrow(`SINK_URL ${message}`);
});
