import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Server } from 'socket.io';
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws';
import { TOO_MANY_CONNECTIONS } from '../../protocol/errors.js';
import { endWithError } from '../../protocol/raw-http-error.js';
import { type EngineSocket, type EngineTransport, findWebSocket } from './engine-internals.js';

/** Fragments of one message. Libraries that send fragments do so above some KiB, and a message has at most 16 KiB. */
const FRAGMENTS_MAX = 16;
/** Chunks from TCP that one message may arrive in; `ws` keeps an object for each. 256 KiB take 180 segments of a usual network. */
const CHUNKS_MAX = 1_024;
/** A client that does not answer a close frame is terminated after this time. */
export const CLOSE_TIMEOUT_MS = 2_000;

/** An option that is documented and missing in the types: https://github.com/websockets/ws/blob/8.21.3/doc/ws.md#new-websocketserveroptions-callback */
interface CloseOptions {
  readonly closeTimeout: number;
}

/**
 * Sends one pong at a time, to the latest ping, as RFC 6455 allows in section 5.5.3. `ws` answers every ping even if the
 * client does not read: the pongs of a minute would fill the memory. For Engine.IO's option `wsEngine`.
 */
export class OnePongServer extends WebSocketServer {
  constructor(options: ServerOptions) {
    const bounds = { autoPong: false, maxFragments: FRAGMENTS_MAX, maxBufferedChunks: CHUNKS_MAX };
    super({ ...options, ...bounds, closeTimeout: CLOSE_TIMEOUT_MS } as ServerOptions & CloseOptions);
  }

  override handleUpgrade(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    done: (webSocket: WebSocket, request: IncomingMessage) => void,
  ): void {
    super.handleUpgrade(request, socket, head, (webSocket) => {
      webSocket.on('ping', answerPing);
      done(webSocket, request);
    });
  }
}

/** Decides which requests become WebSockets, and is called for each that did. */
export interface UpgradePolicy {
  /** @returns whether the request may become a WebSocket */
  admits(request: IncomingMessage, socket: Duplex): boolean;
  webSocketOpened(webSocket: WebSocket, request: IncomingMessage, socket: Duplex): void;
}

/** Creates a class for `wsEngine`, which Engine.IO instantiates. */
export function createGuardedServer(policy: UpgradePolicy): typeof OnePongServer {
  return class extends OnePongServer {
    override handleUpgrade(...[request, socket, head, done]: Parameters<OnePongServer['handleUpgrade']>): void {
      if (!policy.admits(request, socket)) {
        endWithError(socket, '429 Too Many Requests', TOO_MANY_CONNECTIONS);
        return;
      }
      super.handleUpgrade(request, socket, head, (webSocket) => {
        policy.webSocketOpened(webSocket, request, socket);
        done(webSocket, request);
      });
    }
  };
}

/** Allows one probe before an upgrade, because Engine.IO answers every probe even if the client does not read. */
export function boundProbes({ engine }: Server): void {
  engine.on('connection', (connection: EngineSocket) => void connection.on('upgrading', endSecondProbe));
}

const probed = new WeakSet<EngineTransport>();

function endSecondProbe(transport: EngineTransport): void {
  if (probed.has(transport)) {
    const webSocket = findWebSocket(transport);
    if (webSocket === undefined) transport.close();
    else webSocket.terminate();
  }
  probed.add(transport);
}

/** The latest ping to a WebSocket with a pong on its way; `null`: none since that pong. */
const latestPings = new WeakMap<WebSocket, Buffer | null>();

function answerPing(this: WebSocket, data: Buffer): void {
  const isAnswering = latestPings.has(this);
  latestPings.set(this, data);
  if (!isAnswering) sendPong(this);
}

function sendPong(webSocket: WebSocket): void {
  const data = latestPings.get(webSocket) ?? null;
  if (data === null) latestPings.delete(webSocket);
  else {
    latestPings.set(webSocket, null);
    webSocket.pong(data, false, () => sendPong(webSocket));
  }
}
