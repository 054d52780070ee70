import { Inject, Injectable } from '@nestjs/common';
import type { IncomingMessage } from 'node:http';
import { AddressLimiter, isLoopback } from '../../access/address-limiter.js';
import { BODY_BYTES_PER_UNIT } from '../../access/message-budget.js';
import { ByteBuffer } from '../../common/byte-buffer.js';
import type { Clock } from '../../common/clock.js';
import { CLOCK } from '../../config/injection-tokens.js';
import { ProtocolError } from '../../protocol/errors.js';
import { EVENT_BYTES_MAX } from '../../protocol/limits.js';

/** Bytes of all bodies that have not arrived whole. */
const HELD_BYTES_MAX = 64 * 1024 * 1024;
/** As of a body over long-polling: each chunk costs some µs, and the limit on requests counts a body as one. */
const CHUNKS_MAX = 1_024;
/** Fraction of the free room that an address may take: however many addresses send slowly, the next one finds some room. */
const SHARE_OF_FREE = 1 / 8;
const RETRY_MS = 1_000;

/** Reads bodies of events into memory, and bounds it: a client that sends its body slowly holds what it has sent for a minute. */
@Injectable()
export class EventBodies {
  #heldBytes = 0;
  readonly #heldByAddress = new Map<string, number>();

  constructor(
    @Inject(AddressLimiter) private readonly addresses: AddressLimiter,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** @throws ProtocolError when the body is compressed, too large or cut off, or when too much is sent at a time */
  async read(request: IncomingMessage, address: string): Promise<Buffer> {
    const { 'content-encoding': encoding = 'identity', 'content-length': length = '0' } = request.headers;
    if (encoding.toLowerCase() !== 'identity') {
      throw new ProtocolError('BAD_REQUEST', 'Content-Encoding must be identity: send events uncompressed');
    }
    if (Number(length) > EVENT_BYTES_MAX) throw tooLarge();
    const body = new Body(Number(length));
    try {
      await receive(request, (chunk) => {
        if (body.size + chunk.length > EVENT_BYTES_MAX) return tooLarge();
        const error = this.#findExcess(address, chunk.length);
        if (error !== null) return error;
        this.#hold(address, chunk.length);
        body.append(chunk);
        if (body.chunks > CHUNKS_MAX) request.destroy();
        return null;
      });
    } finally {
      this.#hold(address, -body.size);
    }
    this.#charge(address, body.size);
    return body.contents;
  }

  #findExcess(address: string, bytes: number): ProtocolError | null {
    const free = HELD_BYTES_MAX - this.#heldBytes;
    if (bytes > free) return new ProtocolError('OVERLOADED', 'too many bodies arrive at once; retry later', RETRY_MS);
    const own = this.#heldByAddress.get(address) ?? 0;
    if (own + bytes <= free * SHARE_OF_FREE || isLoopback(address)) return null;
    return new ProtocolError('RATE_LIMITED', 'your address sends too many bodies at once; finish some first', RETRY_MS);
  }

  #hold(address: string, bytes: number): void {
    this.#heldBytes += bytes;
    const own = (this.#heldByAddress.get(address) ?? 0) + bytes;
    if (own === 0) this.#heldByAddress.delete(address);
    else this.#heldByAddress.set(address, own);
  }

  /** Parsing a body takes as long as parsing messages of this many bytes. */
  #charge(address: string, bytes: number): void {
    const units = Math.ceil(bytes / BODY_BYTES_PER_UNIT);
    const waitMs = this.addresses.messageTokenBucket(address)?.take(this.clock.nowMs(), units) ?? 0;
    if (waitMs > 0) throw new ProtocolError('RATE_LIMITED', 'too many bytes from your address; slow down', waitMs);
  }
}

/** One piece of memory: a chunk of a byte would take a hundred if it was kept as Node delivers it. */
class Body extends ByteBuffer {
  chunks = 0;

  /** @param expectedBytes Content-Length; NaN or 0 if there is none */
  constructor(private readonly expectedBytes: number) {
    super(0);
  }

  get size(): number {
    return this.length;
  }

  get contents(): Buffer {
    return this.bytes.subarray(0, this.length);
  }

  append(chunk: Buffer): void {
    this.chunks += 1;
    if (chunk.length === this.expectedBytes) this.bytes = chunk;
    else {
      this.reserve(chunk.length);
      chunk.copy(this.bytes, this.length);
    }
    this.length += chunk.length;
  }
}

/** Resolves at the end of the body. Rejects with the first error that `take` returns; then the rest is read into nothing. */
function receive(request: IncomingMessage, take: (chunk: Buffer) => ProtocolError | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const onData = (chunk: Buffer): void => {
      const error = take(chunk);
      if (error === null) return;
      request.off('data', onData);
      reject(error);
    };
    const onCutOff = (): void => reject(new ProtocolError('BAD_REQUEST', 'the body must have its whole length'));
    if (request.destroyed) onCutOff();
    request.on('data', onData);
    request.once('close', onCutOff);
    request.once('end', () => {
      request.off('close', onCutOff);
      resolve();
    });
  });
}

function tooLarge(): ProtocolError {
  return new ProtocolError('PAYLOAD_TOO_LARGE', `a body of events has at most ${EVENT_BYTES_MAX} bytes`);
}
