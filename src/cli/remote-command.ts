import type { RemoteRequest } from './command-line.js';

const STANDARD_URL = 'http://127.0.0.1:3000';

/** A refusal of the gateway, as docs/protocol.md describes it. */
interface Rejection {
  readonly code: string;
  readonly message: string;
}

/**
 * Lets a running gateway carry out a command, and prints its lines of JSON as they come.
 * @param url of the gateway; `null`: TALLYCAST_URL says it
 * @returns the last line
 * @throws Error with one line
 */
export async function runRemotely(
  request: RemoteRequest,
  url: string | null,
  environment: NodeJS.ProcessEnv,
  print: (line: string) => void,
): Promise<Readonly<Record<string, unknown>>> {
  const { ADMIN_TOKEN: token = '', TALLYCAST_URL = '' } = environment;
  const base = parseBase(url ?? (TALLYCAST_URL === '' ? STANDARD_URL : TALLYCAST_URL));
  if (token === '') throw new Error("ADMIN_TOKEN is not set: the environment must have the gateway's");
  // An error about the header would print the token.
  if (!/^[!-~]+$/.test(token)) {
    throw new Error("ADMIN_TOKEN has a space, a line break or a character that is not ASCII: set it to the gateway's");
  }
  const response = await send(base, request, token);
  if (!response.ok) throw new Error(await describeRejection(response, request));
  if (request.method !== 'POST') {
    const text = await response.text();
    print(text === '' ? '{"done":true}' : text);
    return {};
  }
  let last: Record<string, unknown> = {};
  for await (const line of readLines(response)) {
    last = JSON.parse(line) as Record<string, unknown>;
    if ('error' in last) throw new Error(describe(last['error'] as Rejection));
    print(line);
  }
  if (last['done'] !== true) throw new Error(`${base} ended the connection before the command was done: run it again`);
  return last;
}

function parseBase(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.search !== '' || url.hash !== '') {
    throw new Error(`--url, or TALLYCAST_URL, must be the http or https URL of a gateway, such as ${STANDARD_URL}`);
  }
  return url.href.replace(/\/$/, '');
}

async function send(base: string, { method, path, body }: RemoteRequest, token: string): Promise<Response> {
  const url = `${base}${path}`;
  try {
    return await fetch(url, { method, headers: { Authorization: `Bearer ${token}` }, body, redirect: 'error' });
  } catch (error) {
    const { cause } = error as { cause?: { code?: string; message?: string } };
    const reason = cause?.code ?? cause?.message ?? (error as Error).message;
    throw new Error(
      `no connection to ${new URL(url).origin} (${reason}): name the gateway with --url or TALLYCAST_URL`,
      {
        cause: error,
      },
    );
  }
}

async function describeRejection(response: Response, { path, flags = [] }: RemoteRequest): Promise<string> {
  if (response.status === 404) {
    return `${new URL(response.url).origin} has no ${path}: name the gateway's OPS_PORT if it has one, else its BASE_PATH`;
  }
  const text = await response.text();
  try {
    const rejection = JSON.parse(text) as Rejection;
    const isFlag = flags.some((name) => rejection.message.startsWith(`${name} `));
    return describe(isFlag ? { ...rejection, message: `--${rejection.message}` } : rejection);
  } catch {
    return `the response had status ${response.status} and no error of a gateway: is there a proxy in between?`;
  }
}

function describe({ code, message }: Rejection): string {
  return `${code}: ${message}`;
}

/** Lines with text: empty ones are a heartbeat. */
async function* readLines({ body }: Response): AsyncIterable<string> {
  if (body === null) return;
  let rest = '';
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    yield* lines.filter((line) => line !== '');
  }
  if (rest !== '') yield rest;
}
