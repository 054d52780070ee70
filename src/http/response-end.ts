import type { ServerResponse } from 'node:http';

/**
 * The end of a response, or of its connection if that comes first. Node does not report the end of the connection to a
 * pipelined response that waits, so resources that wait for its `close` would leak.
 */
export class ResponseEnd {
  readonly #listeners: (() => void)[] = [];

  constructor(response: ServerResponse) {
    const { socket } = response.req;
    const end = (): void => {
      response.off('close', end);
      socket.off('close', end);
      for (const listener of this.#listeners.splice(0)) listener();
    };
    response.once('close', end);
    socket.once('close', end);
  }

  once(_event: 'close', listener: () => void): void {
    this.#listeners.push(listener);
  }
}
