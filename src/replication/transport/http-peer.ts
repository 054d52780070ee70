import { Agent as HttpAgent, type ClientRequest, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { urlToHttpOptions } from 'node:url';
import type { Clock } from '../../common/clock.js';
import type { DeltaAck, Delta } from '../../counters/replication/delta.js';
import type { ForwardedOperation } from '../../counters/replication/forwarded-operation.js';
import type { PeerAddress } from '../../config/peer-urls.js';
import type { BucketDigest, DecidingPeer, Difference, Peer } from './peer.js';
import { encodeDigestRequests, type PushRequests, encodePostRequests } from './request-splitter.js';
import type { DeltaValidation } from './delta-validation.js';
import { WireError } from './wire-format.js';
import { decodeDifferences, decodeAcks, decodeOutcomes, decodeSettings, encodeOperations } from './message-codec.js';
import { decodeDeltas } from './delta-codec.js';

/** Time limit from the request to the end of the response. */
const CALL_MS = 5_000;
/** Shorter, because a request of an operator waits for it. */
const SETTINGS_MS = 2_000;
/** No valid response is longer. */
const RESPONSE_BYTES_MAX = 8 * 1024 * 1024;
/** One for pushes, which follow each other, two for forwarded operations, and the rest for digests and reads. */
const SOCKETS = 6;
const ERROR_CHARS = 200;

const NO_BYTES = Buffer.alloc(0);

const ROUTE = '/v1/replication';
type Resource = 'deltas' | 'digests' | 'posts' | 'operations' | 'settings';

export interface HttpPeerOptions {
  /** Name of this region. */
  readonly region: string;
  /** PEER_TOKEN */
  readonly token: string;
  readonly validation: DeltaValidation;
  /** Shared by all peers of a gateway. */
  readonly requests: PushRequests;
  readonly clock: Clock;
}

/**
 * Another region over HTTP: `POST /v1/replication/deltas`, `digests`, `posts`, `operations` and `settings`, bodies as in delta-codec.ts. A
 * failed call rejects with one line: `us responded 403: …`, `us: connect ECONNREFUSED`. The line contains no address, because everybody may read it.
 */
export class HttpPeer implements Peer, DecidingPeer {
  readonly region: string;
  /** Headers and bodies, since boot. */
  readonly stats = { bytesSent: 0 };
  readonly #address: ReturnType<typeof urlToHttpOptions>;
  /** BASE_PATH of the region; `''` without one. */
  readonly #basePath: string;
  readonly #agent: HttpAgent | HttpsAgent;

  constructor(
    { region, url }: PeerAddress,
    private readonly options: HttpPeerOptions,
  ) {
    this.region = region;
    this.#address = urlToHttpOptions(url);
    this.#basePath = url.pathname.replace(/\/$/, '');
    const agentOptions = { keepAlive: true, maxSockets: SOCKETS };
    this.#agent = url.protocol === 'https:' ? new HttpsAgent(agentOptions) : new HttpAgent(agentOptions);
  }

  async push(deltas: readonly Delta[]): Promise<readonly DeltaAck[]> {
    const acks: DeltaAck[] = [];
    for (const { bytes, items } of this.options.requests.encode(deltas)) {
      const received = await this.#call('deltas', bytes, decodeAcks);
      if (received.length !== items.length)
        throw new Error(`${this.region} responded with ${received.length} acks to ${items.length} deltas`);
      for (const [i, ack] of received.entries()) {
        const { index } = items[i]!;
        // The last fragment has the ack of the delta, unless the incarnation was rejected with an earlier one.
        if (acks[index]?.incarnationRejected !== true) acks[index] = ack;
      }
    }
    return acks;
  }

  async compareDigests(digests: readonly BucketDigest[]): Promise<readonly Difference[]> {
    const differences: Difference[] = [];
    for (const { bytes } of encodeDigestRequests(digests)) {
      differences.push(...(await this.#call('digests', bytes, decodeDifferences)));
    }
    return differences;
  }

  async readPosts(posts: readonly string[]): Promise<readonly Delta[]> {
    const deltas: Delta[] = [];
    for (const { bytes } of encodePostRequests(posts)) {
      const received = await this.#call('posts', bytes, (response) => {
        const decoded = decodeDeltas(response);
        this.options.validation.check(this.region, decoded);
        return decoded;
      });
      deltas.push(...received);
    }
    return deltas;
  }

  async forward(operations: readonly ForwardedOperation[]): Promise<readonly number[]> {
    const outcomes = await this.#call('operations', encodeOperations(operations), decodeOutcomes);
    if (outcomes.length === operations.length) return outcomes;
    throw new Error(`${this.region} responded with ${outcomes.length} outcomes to ${operations.length} operations`);
  }

  hasLog(): Promise<boolean> {
    return this.#call('settings', NO_BYTES, decodeSettings, SETTINGS_MS).then(({ hasLog }) => hasLog);
  }

  close(): void {
    this.#agent.destroy();
  }

  async #call<T>(resource: Resource, body: Buffer, decode: (response: Buffer) => T, limitMs = CALL_MS): Promise<T> {
    const response = await this.#within(limitMs, resource, body);
    try {
      return decode(response);
    } catch (error) {
      if (error instanceof WireError)
        throw new Error(`${this.region} sent an invalid response: ${error.message}`, { cause: error });
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
      if (call.isLate) throw new Error(`${this.region}: no response within ${ms / 1000} s`, { cause: error });
      throw error;
    } finally {
      timer.cancel();
    }
  }

  async #post(resource: Resource, body: Buffer, call: Call): Promise<Buffer> {
    const request = this.#request(resource, body);
    call.request = request;
    try {
      const { status, bytes } = await readResponse(request);
      if (status === 200) return bytes;
      if (status === 404) {
        throw new PeerRejection(
          `${this.region} has no POST ${ROUTE}/${resource}: run one version in all regions, and give its BASE_PATH in PEERS`,
        );
      }
      throw new PeerRejection(`${this.region} responded ${status}: ${parseMessage(bytes)}`);
    } catch (error) {
      if (error instanceof PeerRejection) throw error;
      // The peer closed a kept connection just when it was used again. Every call may be repeated.
      if (!call.isLate && request.reusedSocket && readCode(error) === 'ECONNRESET')
        return this.#post(resource, body, call);
      throw new Error(`${this.region}: ${describeError(error)}`, { cause: error });
    }
  }

  #request(resource: Resource, body: Buffer): ClientRequest {
    const { region, token, validation } = this.options;
    const send = this.#address.protocol === 'https:' ? httpsRequest : httpRequest;
    const request = send({
      ...this.#address,
      path: `${this.#basePath}${ROUTE}/${resource}`,
      method: 'POST',
      agent: this.#agent,
      headers: {
        Authorization: `Bearer ${token}`,
        'Tallycast-Region': region,
        'Tallycast-Schema': validation.schema,
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

/** A call in flight. Its second request, if the first one failed on a kept connection, belongs to it, too. */
interface Call {
  isLate: boolean;
  request: ClientRequest | null;
}

class PeerRejection extends Error {}

/** Uses events, because a signal or an iterator would take as long as the rest of the call. */
function readResponse(request: ClientRequest): Promise<{ status: number; bytes: Buffer }> {
  return new Promise((resolve, reject) => {
    request.on('error', reject);
    request.once('response', (response) => {
      const chunks: Buffer[] = [];
      let length = 0;
      response.on('error', reject);
      response.on('data', (chunk: Buffer) => {
        length += chunk.length;
        chunks.push(chunk);
        if (length > RESPONSE_BYTES_MAX) {
          response.destroy(new Error(`the response is larger than ${RESPONSE_BYTES_MAX} bytes`));
        }
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, bytes: Buffer.concat(chunks) }));
    });
  });
}

/** @returns the message of the protocol's error object, else the whole text, as one line */
function parseMessage(response: Buffer): string {
  const text = response.toString('utf8');
  let message = text;
  try {
    const body = JSON.parse(text) as { message?: unknown } | null;
    if (typeof body?.message === 'string') message = body.message;
  } catch {
    // Perhaps an error page of a balancer.
  }
  return message.replace(/[^\x21-\x7e]+/g, ' ').slice(0, ERROR_CHARS);
}

function readCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

function describeError(error: unknown): string {
  const { syscall, code, message } = error as NodeJS.ErrnoException;
  return code === undefined ? message : [syscall, code].filter((text) => text !== undefined).join(' ');
}
