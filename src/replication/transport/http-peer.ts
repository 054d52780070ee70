import { Agent as HttpAgent, type ClientRequest, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { urlToHttpOptions } from 'node:url';
import type { Clock } from '../../common/clock.js';
import type { DeltaAck, Delta } from '../../counters/replication/delta.js';
import type { PeerAddress } from '../../config/peer-urls.js';
import type { BucketDigest, Difference, Peer } from './peer.js';
import { encodeDigestRequests, type PushRequests, encodePostRequests } from './request-splitter.js';
import type { DeltaValidation } from './delta-validation.js';
import { WireError } from './wire-format.js';
import { decodeDifferences, decodeAcks } from './message-codec.js';
import { decodeDeltas } from './delta-codec.js';

/** From asking until the whole answer is there. */
const CALL_MS = 5_000;
/** Beyond this a peer says what nobody has asked. */
const ANSWER_BYTES_MAX = 8 * 1024 * 1024;
/** Ships one at a time, and compares and shows beside it. */
const SOCKETS = 4;
const ERROR_CHARS = 200;

const ROUTE = '/v1/replication';
type Resource = 'deltas' | 'digests' | 'posts';

export interface HttpPeerOptions {
  /** Name of this region. */
  readonly region: string;
  /** PEER_TOKEN */
  readonly token: string;
  readonly validation: DeltaValidation;
  /** Shared by the peers of a gateway. */
  readonly requests: PushRequests;
  readonly clock: Clock;
}

/**
 * Another region over HTTP: `POST /v1/replication/deltas`, `digests` and `posts`, bodies as in delta-codec.ts. A call that fails rejects with
 * one line: `us answered 403: …`, `us: connect ECONNREFUSED`. It repeats no address, for everybody may read it.
 */
export class HttpPeer implements Peer {
  readonly region: string;
  /** Heads and bodies, since boot. */
  readonly stats = { bytesSent: 0 };
  readonly #address: ReturnType<typeof urlToHttpOptions>;
  readonly #agent: HttpAgent | HttpsAgent;

  constructor(
    { region, url }: PeerAddress,
    private readonly options: HttpPeerOptions,
  ) {
    this.region = region;
    this.#address = urlToHttpOptions(url);
    const agentOptions = { keepAlive: true, maxSockets: SOCKETS };
    this.#agent = url.protocol === 'https:' ? new HttpsAgent(agentOptions) : new HttpAgent(agentOptions);
  }

  async push(shipments: readonly Delta[]): Promise<readonly DeltaAck[]> {
    const receipts: DeltaAck[] = [];
    for (const { bytes, items } of this.options.requests.encode(shipments)) {
      const answers = await this.#call('deltas', bytes, decodeAcks);
      if (answers.length !== items.length)
        throw new Error(`${this.region} answered with ${answers.length} receipts for ${items.length}`);
      for (const [i, receipt] of answers.entries()) {
        const { index } = items[i]!;
        // Of a shipment in parts the last counts, unless one before was refused.
        if (receipts[index]?.incarnationRejected !== true) receipts[index] = receipt;
      }
    }
    return receipts;
  }

  async compareDigests(digests: readonly BucketDigest[]): Promise<readonly Difference[]> {
    const differences: Difference[] = [];
    for (const { bytes } of encodeDigestRequests(digests)) {
      differences.push(...(await this.#call('digests', bytes, decodeDifferences)));
    }
    return differences;
  }

  async readPosts(posts: readonly string[]): Promise<readonly Delta[]> {
    const shipments: Delta[] = [];
    for (const { bytes } of encodePostRequests(posts)) {
      const shown = await this.#call('posts', bytes, (answer) => {
        const decoded = decodeDeltas(answer);
        this.options.validation.check(this.region, decoded);
        return decoded;
      });
      shipments.push(...shown);
    }
    return shipments;
  }

  /** Nothing more can be asked. */
  close(): void {
    this.#agent.destroy();
  }

  async #call<T>(resource: Resource, body: Buffer, decode: (answer: Buffer) => T): Promise<T> {
    const answer = await this.#within(CALL_MS, resource, body);
    try {
      return decode(answer);
    } catch (error) {
      if (error instanceof WireError)
        throw new Error(`${this.region} answered what it should not: ${error.message}`, { cause: error });
      throw error;
    }
  }

  async #within(ms: number, resource: Resource, body: Buffer): Promise<Buffer> {
    const call: Call = { isLate: false, request: null };
    const timer = this.options.clock.after(ms, () => {
      call.isLate = true;
      call.request?.destroy();
    });
    try {
      return await this.#post(resource, body, call);
    } catch (error) {
      if (call.isLate) throw new Error(`${this.region}: no answer within ${ms / 1000} s`, { cause: error });
      throw error;
    } finally {
      timer.cancel();
    }
  }

  async #post(resource: Resource, body: Buffer, call: Call): Promise<Buffer> {
    const request = this.#request(resource, body);
    call.request = request;
    try {
      const { status, answer } = await answerTo(request);
      if (status === 200) return answer;
      if (status === 404) {
        throw new PeerRefusal(`${this.region} has no POST ${ROUTE}/${resource}: run one version in all regions`);
      }
      throw new PeerRefusal(`${this.region} answered ${status}: ${messageOf(answer)}`);
    } catch (error) {
      if (error instanceof PeerRefusal) throw error;
      // A connection that was kept is closed by the peer at the moment it is used again; all calls may be repeated.
      if (!call.isLate && request.reusedSocket && codeOf(error) === 'ECONNRESET')
        return this.#post(resource, body, call);
      throw new Error(`${this.region}: ${reasonOf(error)}`, { cause: error });
    }
  }

  #request(resource: Resource, body: Buffer): ClientRequest {
    const { region, token, validation: rules } = this.options;
    const send = this.#address.protocol === 'https:' ? httpsRequest : httpRequest;
    const request = send({
      ...this.#address,
      path: `${ROUTE}/${resource}`,
      method: 'POST',
      agent: this.#agent,
      headers: {
        Authorization: `Bearer ${token}`,
        'Tallycast-Region': region,
        'Tallycast-Schema': rules.schema,
        'Content-Type': 'application/octet-stream',
        'Content-Length': body.length,
      },
    });
    request.once('socket', (socket) => {
      const before = socket.bytesWritten;
      request.once('close', () => (this.stats.bytesSent += socket.bytesWritten - before));
    });
    request.end(body);
    return request;
  }
}

/** A call that is under way, perhaps by a second request. */
interface Call {
  isLate: boolean;
  request: ClientRequest | null;
}

class PeerRefusal extends Error {}

/** Events and no signal, nor an iterator: they would take as long as the rest of a call. */
function answerTo(request: ClientRequest): Promise<{ status: number; answer: Buffer }> {
  return new Promise((resolve, reject) => {
    request.on('error', reject);
    request.once('response', (response) => {
      const chunks: Buffer[] = [];
      let length = 0;
      response.on('error', reject);
      response.on('data', (chunk: Buffer) => {
        length += chunk.length;
        chunks.push(chunk);
        if (length > ANSWER_BYTES_MAX) response.destroy(new Error(`an answer of more than ${ANSWER_BYTES_MAX} bytes`));
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, answer: Buffer.concat(chunks) }));
    });
  });
}

/** What the protocol's error object says, else its text; in one line. */
function messageOf(answer: Buffer): string {
  const text = answer.toString('utf8');
  let message = text;
  try {
    const body = JSON.parse(text) as { message?: unknown } | null;
    if (typeof body?.message === 'string') message = body.message;
  } catch {
    // A balancer's page, perhaps.
  }
  return message.replace(/[^\x21-\x7e]+/g, ' ').slice(0, ERROR_CHARS);
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

function reasonOf(error: unknown): string {
  const { syscall, code, message } = error as NodeJS.ErrnoException;
  return code === undefined ? message : [syscall, code].filter((part) => part !== undefined).join(' ');
}
