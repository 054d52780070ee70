import type { Socket as TcpSocket } from 'node:net';
import { readTcpHandle, type TcpHandle, type WriteRequest } from './engine-internals.js';
import { Shortcut } from './shortcut.js';

/** The async id of a request without a write in progress. */
const NO_WRITE = -1;
/** Stands for the error of a request that was made and not queued. Only Node's own streams can read the error itself. */
const NOTHING_QUEUED = -1;

/** @returns 0 if the system accepted all bytes, a negative error number, or the request that waits */
type WriteCall = (handle: TcpHandle, bytes: Uint8Array) => number | WriteRequest;

/** The shortcut that writes to libuv. It learns from Node's own streams how to call a handle: release lines of Node differ in that. */
export class LibuvWriteShortcut extends Shortcut {
  #call: WriteCall | null = null;

  /**
   * Writes `bytes` to the socket's stream, and observes how the stream calls the handle.
   * @throws Error if it calls the handle in an unknown way
   */
  observe(tcp: TcpSocket, bytes: Uint8Array): void {
    const handle = expectTcpHandle(tcp);
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

  /** @returns `null` if the shortcut is off, or the socket is closed or not plain TCP */
  open(tcp: TcpSocket): LibuvWriter | null {
    return this.isOn ? this.openUnproved(tcp) : null;
  }

  /** The same as `open`, for the proof. */
  openUnproved(tcp: TcpSocket): LibuvWriter | null {
    if (this.#call === null || tcp.destroyed) return null;
    try {
      return new LibuvWriter(tcp, expectTcpHandle(tcp), this.#call, this);
    } catch (error) {
      this.disable(error);
      return null;
    }
  }
}

/** Node 24 and later: the handle returns a request if the system did not accept all bytes. */
const returningRequests: WriteCall = (handle, bytes) => handle.writeBuffer(null, bytes);

/**
 * Node 20 and 22: the caller passes a request, which it can use again if the system accepted all bytes at once. The size of the
 * handle's queue does not show that: libuv tries twice, and a request whose bytes were accepted the second time is in use until
 * its `oncomplete` was called. Node aborts the process if such a request is used again.
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
 * Writes to a TCP socket past its stream, whose bookkeeping costs at least a tenth of the system call. Bytes that the
 * system does not accept wait in libuv, and later writes of the stream wait behind them. Bytes that wait in the stream
 * itself would be overtaken.
 */
export class LibuvWriter {
  #waiting = 0;

  constructor(
    private readonly tcp: TcpSocket,
    private readonly handle: TcpHandle,
    private readonly call: WriteCall,
    private readonly shortcut: Shortcut,
  ) {}

  /** Whether bytes written here wait for the system. */
  get hasUnsent(): boolean {
    return this.#waiting > 0;
  }

  /** Destroys the socket if the write fails, because it is then unknown how many bytes were sent. Never throws. */
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

function isRequest(value: unknown): value is WriteRequest {
  if (typeof value !== 'object' || value === null) return false;
  return value.constructor.name === 'WriteWrap';
}

function isQueued(request: WriteRequest): boolean {
  const id = request.getAsyncId();
  if (typeof id !== 'number') throw new Error('getAsyncId returned no number');
  return id !== NO_WRITE;
}

/** @throws Error if the socket has no handle of plain TCP */
function expectTcpHandle(tcp: TcpSocket): TcpHandle {
  const handle = readTcpHandle(tcp);
  if (handle?.constructor.name !== 'TCP') throw new Error('the socket has no TCP handle');
  if (typeof handle.writeBuffer !== 'function') throw new Error('the handle has no writeBuffer');
  return handle;
}
