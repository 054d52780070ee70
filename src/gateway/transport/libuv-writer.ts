import type { Socket as TcpSocket } from 'node:net';
import { Shortcut } from './shortcut.js';

/** The handle that Node's C++ side gives a TCP socket: https://github.com/nodejs/node/blob/v24.x/src/stream_base.cc */
interface TcpHandle {
  writeBuffer(request: WriteRequest | null, bytes: Uint8Array): number | WriteRequest;
}

/** A write that is not complete yet. */
interface WriteRequest {
  /** `NO_WRITE` before its write, after a write that was complete at once, and when `oncomplete` was called. */
  getAsyncId(): number;
  oncomplete?: (status: number) => void;
  /** Keeps the bytes while they wait. */
  buffer?: Uint8Array;
  /** Since Node 24: the status of one that was complete before `oncomplete` could be set, else `null`. */
  readonly writeStatus?: number | null;
}

const NO_WRITE = -1;
/** Stands for the error of a request that was made and not queued, which only Node's own streams can read. */
const NOTHING_QUEUED = -1;

/** @returns 0 when the system has taken all, a negative error number, or the request that waits */
type WriteCall = (handle: TcpHandle, bytes: Uint8Array) => number | WriteRequest;

/** The shortcut: how Node's own streams write to a handle, which differs from line to line. */
export class LibuvWriteShortcut extends Shortcut {
  #call: WriteCall | null = null;

  /**
   * Writes `bytes` by the socket's stream, and sees how that calls the handle.
   * @throws Error when it does so in no way that is known
   */
  observe(tcp: TcpSocket, bytes: Uint8Array): void {
    const handle = handleOf(tcp);
    const original = handle.writeBuffer.bind(handle);
    const seen: unknown[] = [];
    handle.writeBuffer = (request, data) => {
      seen.push(request);
      return original(request, data);
    };
    try {
      tcp.write(bytes);
    } finally {
      Reflect.deleteProperty(handle, 'writeBuffer');
    }
    const [request] = seen;
    if (seen.length !== 1) throw new Error('streams do not call writeBuffer once');
    if (request === null) this.#call = returningRequests;
    else if (isRequest(request)) this.#call = takingRequests(request.constructor as new () => WriteRequest);
    else throw new Error('streams call writeBuffer with something unknown');
  }

  /** @returns `null` when it is off, and for a socket that is not plain TCP or is closed */
  open(tcp: TcpSocket): LibuvWriter | null {
    return this.isOn ? this.openUnproved(tcp) : null;
  }

  /** As `open`, for the proof. */
  openUnproved(tcp: TcpSocket): LibuvWriter | null {
    if (this.#call === null || tcp.destroyed) return null;
    try {
      return new LibuvWriter(tcp, handleOf(tcp), this.#call, this);
    } catch (error) {
      this.disable(error);
      return null;
    }
  }
}

/** Node 24 and later: a request is made for what the system did not take, and returned. */
const returningRequests: WriteCall = (handle, bytes) => handle.writeBuffer(null, bytes);

/**
 * Node 20 and 22: the caller brings a request, which can be used again when the system has taken all at once. The size of the
 * handle's queue does not tell that: libuv tries twice, and a request whose bytes were taken the second time is in use until
 * its end has been told. Node aborts the process when such a request is used again.
 */
function takingRequests(Request: new () => WriteRequest): WriteCall {
  let unused: WriteRequest | null = null;
  return (handle, bytes) => {
    const request = unused ?? new Request();
    unused = null;
    const status = handle.writeBuffer(request, bytes);
    if (status !== 0) return status;
    if (isQueued(request)) return request;
    unused = request;
    return 0;
  };
}

/**
 * Writes to a TCP socket past its stream, whose bookkeeping costs a tenth of the system call and more. What the system
 * does not take waits in libuv, and what the stream writes later waits behind it; but what waits in the stream itself
 * would be overtaken.
 */
export class LibuvWriter {
  #waiting = 0;

  constructor(
    private readonly tcp: TcpSocket,
    private readonly handle: TcpHandle,
    private readonly call: WriteCall,
    private readonly shortcut: Shortcut,
  ) {}

  /** Whether something that was written here waits for the system. */
  get hasUnsent(): boolean {
    return this.#waiting > 0;
  }

  /** Ends the connection when the write fails, because nobody knows then how much of it was sent. Never throws. */
  write(bytes: Uint8Array): void {
    try {
      const result = this.call(this.handle, bytes);
      if (result === 0) return;
      if (typeof result === 'number' && result < 0) this.tcp.destroy();
      else this.#wait(result, bytes);
    } catch (error) {
      this.shortcut.disable(error);
      this.tcp.destroy();
    }
  }

  #wait(request: unknown, bytes: Uint8Array): void {
    if (!isRequest(request)) throw new Error(`writeBuffer returned ${String(request)}`);
    this.#waiting += 1;
    request.buffer = bytes;
    request.oncomplete = (status) => {
      this.#waiting -= 1;
      if (status !== 0) this.tcp.destroy();
    };
    if (typeof request.writeStatus === 'number') request.oncomplete(request.writeStatus);
    else if (!isQueued(request)) request.oncomplete(NOTHING_QUEUED);
  }
}

/** Requests have a field for their bytes, or for the status of one that is complete already. */
function isRequest(value: unknown): value is WriteRequest {
  if (typeof value !== 'object' || value === null) return false;
  return value.constructor.name === 'WriteWrap';
}

function isQueued(request: WriteRequest): boolean {
  const id = request.getAsyncId();
  if (typeof id !== 'number') throw new Error('getAsyncId returned no number');
  return id !== NO_WRITE;
}

/** @throws Error when the socket has no handle of plain TCP */
function handleOf(tcp: TcpSocket): TcpHandle {
  const { _handle: handle } = tcp as unknown as { readonly _handle?: TcpHandle | null };
  if (handle?.constructor.name !== 'TCP') throw new Error('the socket has no TCP handle');
  if (typeof handle.writeBuffer !== 'function') throw new Error('the handle has no writeBuffer');
  return handle;
}
