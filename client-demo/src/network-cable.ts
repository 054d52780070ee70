import type { Options } from 'tallycast-client/widgets';

/**
 * The network of one client behind a cable. Pulling the cable ends open sockets and requests at once. Those opened
 * meanwhile wait, as on a real network, and are sent when the cable is plugged in.
 */
export class NetworkCable {
  #pulled: AbortController | undefined = new AbortController();
  #pluggedIn = Promise.resolve();
  #plugIn: () => void = () => undefined;

  readonly environment: NonNullable<Options['environment']>;

  constructor() {
    const cable = (): this => this;
    this.environment = {
      WebSocket: class extends CabledSocket {
        constructor(url: string) {
          super(url, cable());
        }
      } as unknown as typeof WebSocket,
      fetch: (input, init) => this.#fetch(input, init),
      // A tenth of the longest wait, because two clients need not be spread.
      random: () => 0.1,
    };
  }

  get pulled(): boolean {
    return this.#pulled === undefined;
  }

  /** Aborts when the cable is pulled; aborted already while it is. */
  get signal(): AbortSignal {
    return this.#pulled?.signal ?? AbortSignal.abort();
  }

  get pluggedIn(): Promise<void> {
    return this.#pluggedIn;
  }

  pull(): void {
    this.#pluggedIn = new Promise((resolve) => (this.#plugIn = resolve));
    const pulled = this.#pulled;
    this.#pulled = undefined;
    pulled?.abort();
  }

  plugIn(): void {
    this.#pulled ??= new AbortController();
    this.#plugIn();
  }

  async #fetch(input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> {
    const given = init.signal ?? new AbortController().signal;
    await Promise.race([this.#pluggedIn, aborted(given)]);
    return fetch(input, { ...init, signal: AbortSignal.any([given, this.signal]) });
  }
}

/** The members of WebSocket that the client uses. */
class CabledSocket {
  readonly OPEN = WebSocket.OPEN;
  onmessage: ((event: MessageEvent) => void) | null = null;
  onclose: (() => void) | null = null;
  onerror: (() => void) | null = null;
  #socket: WebSocket | undefined;
  #ended = false;

  constructor(url: string, cable: NetworkCable) {
    void cable.pluggedIn.then(() => {
      if (!this.#ended) this.#open(url, cable.signal);
    });
  }

  get readyState(): number {
    return this.#socket?.readyState ?? WebSocket.CONNECTING;
  }

  send(data: string): void {
    this.#socket?.send(data);
  }

  close(): void {
    this.#ended = true;
    const socket = this.#socket;
    // Closing a socket that is not open yet logs an error on the console.
    if (socket?.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
    else socket?.close();
  }

  #open(url: string, pulled: AbortSignal): void {
    const socket = new WebSocket(url);
    this.#socket = socket;
    const end = (): void => {
      if (this.#ended) return;
      this.close();
      this.onclose?.();
    };
    socket.onmessage = (event) => {
      if (!this.#ended) this.onmessage?.(event);
    };
    socket.onclose = end;
    pulled.addEventListener('abort', end);
    if (pulled.aborted) end();
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const fail = (): void => reject(new DOMException('aborted', 'AbortError'));
    if (signal.aborted) fail();
    else signal.addEventListener('abort', fail, { once: true });
  });
}
