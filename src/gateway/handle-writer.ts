import type { Socket as TcpSocket } from 'node:net';

/** What Node's C++ side gives a TCP socket: https://github.com/nodejs/node/blob/v20.x/src/stream_base.cc */
interface Handle {
  /** Bytes that the system has not taken yet. */
  readonly writeQueueSize: number;
  /** @returns 0, or a negative error number. What the system takes at once needs no request: it can be used again. */
  writeBuffer: (request: WriteRequest, bytes: Uint8Array) => number;
}

interface WriteRequest {
  oncomplete?: (status: number) => void;
  /** Keeps the bytes while they wait. */
  buffer?: Uint8Array;
}

type WriteRequestClass = new () => WriteRequest;

/** Node's own class of requests, seen at the first write of all; nothing else can stand for them. */
let Request: WriteRequestClass | null = null;
let unused: WriteRequest | null = null;

/**
 * Writes to a TCP socket past its stream, whose bookkeeping costs a tenth of the system call and more. What the system
 * does not take waits in libuv, and what the stream writes later waits behind it; but what waits in the stream itself
 * would be overtaken.
 */
export class HandleWriter {
  #waiting = 0;

  /** @returns `null` for a socket that is not plain TCP, or has other internals than expected */
  static of(tcp: TcpSocket): HandleWriter | null {
    const { _handle: handle } = tcp as unknown as {
      readonly _handle: (Handle & { constructor: { name: string } }) | null;
    };
    if (handle?.constructor.name !== 'TCP') return null;
    if (typeof handle.writeQueueSize !== 'number' || typeof handle.writeBuffer !== 'function') return null;
    return new HandleWriter(tcp, handle);
  }

  private constructor(
    private readonly tcp: TcpSocket,
    private readonly handle: Handle,
  ) {}

  /** Whether something that was written here waits for the system. */
  get waits(): boolean {
    return this.#waiting > 0;
  }

  write(bytes: Uint8Array): void {
    if (Request === null) {
      this.#look(bytes);
      return;
    }
    const request = (unused ??= new Request());
    if (this.handle.writeBuffer(request, bytes) !== 0) this.tcp.destroy();
    else if (this.handle.writeQueueSize > 0) this.#wait(request, bytes);
  }

  #wait(request: WriteRequest, bytes: Uint8Array): void {
    unused = null;
    request.buffer = bytes;
    this.#waiting += 1;
    request.oncomplete = (status) => {
      this.#waiting -= 1;
      if (status < 0) this.tcp.destroy();
    };
  }

  /** Writes by the stream, and sees what that asks of Node. */
  #look(bytes: Uint8Array): void {
    const { handle } = this;
    const own = handle.writeBuffer;
    handle.writeBuffer = (request, data) => {
      Request = request.constructor as WriteRequestClass;
      return own.call(handle, request, data);
    };
    this.tcp.write(bytes);
    Reflect.deleteProperty(handle, 'writeBuffer');
  }
}
