import { isIP } from 'node:net';

/** How the connection is encrypted, in the terms of libpq. `require` does not check whose certificate the server has. */
type TlsMode = 'disable' | 'require' | 'verify-full';

export interface PostgresTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** `undefined`: none, or the one that PGPASSWORD has. */
  readonly password: string | undefined;
  readonly database: string;
  readonly schema: string;
  readonly tls: TlsMode;
  /** File with the certificates of accepted authorities; `null`: those of Node.js. */
  readonly rootCertificate: string | null;
  /** For logs and metrics, without user and password. */
  readonly name: string;
}

const PORT = 5432;
const TLS_MODES: readonly TlsMode[] = ['disable', 'require', 'verify-full'];
const PARAMETERS = new Set(['schema', 'sslmode', 'sslrootcert']);
/** NAMEDATALEN - 1: PostgreSQL cuts longer names, so that two could be the same. */
const NAME_BYTES_MAX = 63;
/** PostgreSQL reserves these names. Tables in `pg_temp` would even be made, and end with each connection. */
const RESERVED_SCHEMA = /^pg_/;

/**
 * `postgres://user:password@host[:port]/database[?schema=…&sslmode=…&sslrootcert=…]`. Special characters of a name or a password are
 * percent-encoded.
 *
 * @throws Error with one line, which never holds a password
 */
export function parsePostgresUrl(url: URL): PostgresTarget {
  try {
    return parseTarget(url);
  } catch (error) {
    throw new Error(`SINK_URL ${(error as Error).message}`, { cause: error });
  }
}

function parseTarget(url: URL): PostgresTarget {
  if (url.hash !== '') throw new Error('has a # after the database: write it as %23 if a name has one');
  // Hosts have no case, but only URLs of the web are parsed so. A path is that of a socket, and has one.
  const decodedHost = decode(url.hostname).replace(/^\[(.*)\]$/, '$1');
  const host = decodedHost.startsWith('/') ? decodedHost : decodedHost.toLowerCase();
  const user = decode(url.username);
  const database = decode(url.pathname.slice(1));
  if (host === '') throw new Error('names no host: write postgres://user:password@host:5432/database');
  if (user === '') throw new Error('names no user: write postgres://user:password@host:5432/database');
  if (database === '' || database.includes('/'))
    throw new Error('names no database: end with /database after the host');
  const port = url.port === '' ? PORT : Number(url.port);
  if (port === 0) throw new Error(`has port 0: write that of the server, such as ${PORT}`);
  const schema = parseSchema(url.searchParams);
  const address = isIP(host) === 6 ? `[${host}]` : host;
  return {
    host,
    port,
    user,
    password: url.password === '' ? undefined : decode(url.password),
    database,
    schema,
    ...parseTls(url.searchParams),
    name: `postgres://${address}:${port}/${database}${schema === 'public' ? '' : `?schema=${schema}`}`,
  };
}

function parseSchema(parameters: URLSearchParams): string {
  for (const name of parameters.keys()) {
    if (!PARAMETERS.has(name)) {
      throw new Error(`has the unknown parameter "${name}"; expected ${[...PARAMETERS].join(', ')}`);
    }
    if (parameters.getAll(name).length > 1) throw new Error(`has the parameter ${name} twice: write it once`);
  }
  const schema = parameters.get('schema') ?? 'public';
  if (schema === '' || Buffer.byteLength(schema) > NAME_BYTES_MAX) {
    throw new Error(`has a schema that is not a name of 1 to ${NAME_BYTES_MAX} bytes`);
  }
  if (RESERVED_SCHEMA.test(schema)) throw new Error('has a schema that begins with pg_: name one of your own');
  requirePrintable(schema);
  return schema;
}

function parseTls(parameters: URLSearchParams): Pick<PostgresTarget, 'tls' | 'rootCertificate'> {
  const mode = parameters.get('sslmode') ?? 'disable';
  const tls = TLS_MODES.find((one) => one === mode);
  if (tls === undefined) throw new Error(`has an unknown sslmode; expected ${TLS_MODES.join(', ')}`);
  const rootCertificate = parameters.get('sslrootcert');
  if (rootCertificate !== null && tls !== 'verify-full') {
    throw new Error('has sslrootcert without sslmode=verify-full, which alone checks certificates');
  }
  return { tls, rootCertificate };
}

function decode(text: string): string {
  try {
    return requirePrintable(decodeURIComponent(text));
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    throw new Error('has a % that is not followed by two hex digits: write it as %25', { cause: error });
  }
}

/** The protocol ends texts at a NUL, and messages for operators have one line. */
function requirePrintable(text: string): string {
  if (/\p{Cc}/u.test(text)) throw new Error('has a control character, such as %00 or %0A: remove it');
  return text;
}
