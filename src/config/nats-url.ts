/** As NATS wants it: no whitespace, dots, wildcards or slashes. */
const STREAM = /^[A-Za-z0-9_-]{1,255}$/;
const NATS_PORT = 4222;

/** A server of NATS and a stream of its JetStream. */
export interface NatsTarget {
  /** `host:port`. */
  readonly server: string;
  readonly stream: string;
  /** Whether the connection has to be encrypted. Without it, it is encrypted if the server offers that. */
  readonly tls: boolean;
  /** `null`: the server requires none. Without a password the user is a token. */
  readonly login: { readonly user: string; readonly password: string } | null;
}

/**
 * `nats://[user:password@|token@]host[:port]?stream=NAME`; `nats+tls` is TLS.
 * @throws Error that says what is wrong with the URL, and does not name it, because it may have a password
 */
export function parseNatsTarget(url: URL): NatsTarget {
  if (url.hostname === '') throw new Error('names no host; write nats://host:port?stream=NAME');
  if (!/^\/?$/.test(url.pathname) || url.hash !== '') throw new Error('has a path; write nats://host:port?stream=NAME');
  if (url.username === '' && url.password !== '')
    throw new Error('has a password without a user; write user:password@host');
  const parameters = [...url.searchParams.keys()];
  const stream = url.searchParams.get('stream') ?? '';
  if (parameters.length !== 1 || !STREAM.test(stream)) {
    throw new Error('has to end with ?stream= and the name of a stream: letters, digits, _ and -');
  }
  return {
    server: `${url.hostname}:${url.port === '' ? NATS_PORT : url.port}`,
    stream,
    tls: url.protocol === 'nats+tls:',
    login: url.username === '' ? null : { user: decode(url.username), password: decode(url.password) },
  };
}

/** The properties of a target, as the client of NATS takes them. */
export function toConnectionOptions({ server, tls, login }: NatsTarget) {
  return { servers: server, ...(tls ? { tls: {} } : {}), ...toLoginOptions(login) };
}

function toLoginOptions(login: NatsTarget['login']) {
  if (login === null) return {};
  return login.password === '' ? { token: login.user } : { user: login.user, pass: login.password };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error('has a % in its login that is not followed by two hex digits; write % as %25');
  }
}
