import { webcrypto } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Row, RowConsumer } from './row-consumer.js';

/** The secret of the examples of Standard Webhooks. */
export const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const TOLERANCE_SECONDS = 5 * 60;

export interface ReceivedRequest {
  readonly id: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
  readonly rows: readonly Row[];
  readonly milestones: readonly Row[];
}

/** `take`: 200. `lose`: the rows are taken, and the response is lost. The others take nothing. */
export type Reaction = 'take' | 'lose' | 'cut' | 'hang' | { status: number; headers?: Record<string, string> };

/** A receiver that verifies the signature of each request, written by the specification and not with the gateway's code. */
export class WebhookServer {
  readonly requests: ReceivedRequest[] = [];
  /** Those of requests that were taken, in the order in which they came. */
  readonly milestones: Row[] = [];
  react: (request: ReceivedRequest) => Reaction = () => 'take';
  readonly #server = createServer((request, response) => void this.#handle(request, response));

  constructor(private readonly consumer: RowConsumer) {}

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #handle(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    message.on('data', (chunk: Buffer) => chunks.push(chunk));
    message.on('error', () => undefined);
    await once(message, 'close');
    if (!message.complete) return;
    const body = Buffer.concat(chunks).toString();
    const { headers } = message;
    if (!(await isSigned(headers, body))) {
      response.writeHead(401).end();
      return;
    }
    const { type, data } = JSON.parse(body) as { type: string; data: Row[] };
    const [rows, milestones] = type === 'milestone.reached' ? [[], data] : [data, []];
    const request = { id: String(headers['webhook-id']), path: message.url!, headers, body, rows, milestones };
    this.requests.push(request);
    this.#react(this.react(request), request, response);
  }

  #react(reaction: Reaction, { rows, milestones }: ReceivedRequest, response: ServerResponse): void {
    if (reaction === 'take' || reaction === 'lose') {
      for (const row of rows) this.consumer.take(row);
      this.milestones.push(...milestones);
    }
    if (reaction === 'take') response.writeHead(200).end('ok');
    else if (reaction === 'lose' || reaction === 'cut') response.destroy();
    else if (reaction !== 'hang') response.writeHead(reaction.status, reaction.headers).end('no');
  }
}

/** https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, "Verifying signatures". */
async function isSigned(headers: IncomingMessage['headers'], body: string): Promise<boolean> {
  const id = String(headers['webhook-id']);
  const timestamp = String(headers['webhook-timestamp']);
  if (!/^\d+$/.test(timestamp) || Math.abs(Date.now() / 1_000 - Number(timestamp)) > TOLERANCE_SECONDS) return false;
  const secret = Uint8Array.from(atob(SECRET.replace(/^whsec_/, '')), (char) => char.charCodeAt(0));
  const key = await webcrypto.subtle.importKey('raw', secret, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify']);
  const content = new TextEncoder().encode(`${id}.${timestamp}.${body}`);
  const candidates = String(headers['webhook-signature']).split(' ');
  for (const candidate of candidates) {
    const [version, signature = ''] = candidate.split(',');
    const bytes = Uint8Array.from(atob(signature), (char) => char.charCodeAt(0));
    if (version === 'v1' && (await webcrypto.subtle.verify('HMAC', key, bytes, content))) return true;
  }
  return false;
}
