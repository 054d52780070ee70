import { Inject, Injectable } from '@nestjs/common';
import type { Request, Response } from 'express';
import type { Socket } from 'node:net';
import { AddressLimiter } from '../access/address-limiter.js';
import { Authenticator, type Credentials } from '../access/authenticator.js';
import { SuspicionLog } from '../access/suspicion-log.js';
import type { Clock } from '../common/clock.js';
import { ClosingFlag } from '../common/closing-flag.js';
import type { Key64 } from '../counters/ids.js';
import { type ActorStream, ActorStreams } from '../fanout/actor-streams.js';
import { Fanout, type FirstView } from '../fanout/fanout.js';
import { buildMetricRules } from '../fanout/metric-rules.js';
import type { Viewer } from '../fanout/viewer.js';
import { CLOSING_ERROR, ProtocolError, throwIfError } from '../protocol/errors.js';
import type { MetricRules, Update } from '../protocol/messages.js';
import { CLOCK, SETTINGS } from '../config/injection-tokens.js';
import type { Settings } from '../config/settings.js';
import type { Metrics } from '../counters/metrics.js';
import { EventStream, STREAM_HEADERS } from './event-stream.js';
import { ResponseEnd } from './response-end.js';

const ONE_STREAM = 'a connection carries one event stream; open another connection for another one';

export interface StreamRequest {
  readonly posts: readonly string[];
  /** Whether the client counts in `live` of the posts. */
  readonly isPresent: boolean;
  readonly credentials: Credentials;
}

/** The open event streams: each is a viewer like a socket. */
@Injectable()
export class StreamRegistry {
  readonly #open = new Map<EventStream, Viewer>();
  /** Connections that carry a stream, or are about to. */
  readonly #carrying = new WeakSet<Socket>();
  readonly #metrics: Metrics;
  readonly #rules: MetricRules;

  constructor(
    @Inject(Fanout) private readonly fanout: Fanout,
    @Inject(ActorStreams) private readonly actorStreams: ActorStreams,
    @Inject(AddressLimiter) private readonly addresses: AddressLimiter,
    @Inject(SuspicionLog) private readonly suspicions: SuspicionLog,
    @Inject(Authenticator) private readonly authenticator: Authenticator,
    @Inject(ClosingFlag) private readonly lifecycle: ClosingFlag,
    @Inject(CLOCK) private readonly clock: Clock,
    @Inject(SETTINGS) { metrics }: Pick<Settings, 'metrics'>,
  ) {
    this.#metrics = metrics;
    this.#rules = buildMetricRules(metrics);
  }

  /** The number of open streams. */
  get size(): number {
    return this.#open.size;
  }

  /**
   * Resolves when the snapshot is written or the client has disconnected. Frames follow until the client disconnects.
   * @throws ProtocolError before anything is written, so that the error is sent like any other
   */
  async open(request: Request, response: Response, { posts, isPresent, credentials }: StreamRequest): Promise<void> {
    this.#rejectWhileClosing();
    if (isGone(response)) return;
    const { socket } = request;
    if (this.#carrying.has(socket)) throw new ProtocolError('BAD_REQUEST', ONE_STREAM);
    // Count the connection before its token is verified.
    const end = new ResponseEnd(response);
    const address = this.addresses.addressOf(request);
    if (!this.addresses.mayConnect(address)) this.suspicions.add('connections', address);
    this.addresses.connect(address, end);
    this.#carrying.add(socket);
    end.once('close', () => this.#carrying.delete(socket));
    const { key, expiresAtMs } = await this.authenticator.identify(credentials, {
      address,
      userAgent: request.headers['user-agent'],
    });
    if (isGone(response)) return;
    if (request.method === 'HEAD') {
      response.writeHead(200, STREAM_HEADERS).end();
      return;
    }
    const stream = new EventStream(response, this.clock);
    const viewer = this.fanout.open(key, stream);
    end.once('close', () => {
      this.#open.delete(stream);
      stream.dispose();
      this.fanout.close(viewer);
      leave?.();
    });
    const leave = key && this.#join(key, stream, viewer);
    const snapshot = await this.#snapshot(viewer, posts, key, isPresent);
    if (isGone(response)) return;
    this.#rejectWhileClosing();
    this.#open.set(stream, viewer);
    stream.start(snapshot);
    stream.expireAt(expiresAtMs);
  }

  /** Ends all streams after their unsent counts; each client gets its own time to reconnect. */
  sendByeToAll(reason: string, retryAfterMs: () => number): void {
    this.fanout.flush(this.#open.values());
    for (const stream of this.#open.keys()) stream.sendBye({ reason, retryAfterMs: retryAfterMs() });
  }

  /** Before the snapshot is read, so that no change after it is missed. @returns the way back */
  #join(actor: Key64, stream: EventStream, { subscriptions }: Viewer): () => void {
    const listener: ActorStream = {
      sendMine: (event) => {
        if (subscriptions.has(event.post)) stream.sendMine(event);
      },
      sendBye: (event) => {
        if (this.#open.has(stream)) stream.sendBye(event);
        else stream.disconnectSlow();
      },
    };
    this.actorStreams.add(actor, listener);
    return () => this.actorStreams.remove(actor, listener);
  }

  async #snapshot(viewer: Viewer, posts: readonly string[], actor: Key64 | null, isPresent: boolean): Promise<string> {
    try {
      let whole = '';
      const show = (first: FirstView[]): void => {
        const [head, ...others] = first.map((view) => this.#encode(view, actor !== null));
        if (head !== undefined) whole = [this.#addRules(head), ...others].join(',');
      };
      await this.fanout.subscribe(viewer, posts, actor, show, isPresent);
      return `[${whole}]`;
    } catch {
      throw new ProtocolError('UNAVAILABLE', 'the store did not respond in time; retry');
    }
  }

  #encode({ snapshot, on }: FirstView, hasActor: boolean): string {
    const update = snapshot.encodeFull();
    return hasActor ? `${update.slice(0, -1)},"mine":${JSON.stringify(this.#metrics.listMine(on))}}` : update;
  }

  /** A snapshot is a plain list, so its first update has what is no update. */
  #addRules(update: string): string {
    return JSON.stringify({ ...(JSON.parse(update) as Update), ...this.#rules });
  }

  #rejectWhileClosing(): void {
    throwIfError(this.lifecycle.isClosing ? CLOSING_ERROR : null);
  }
}

/** Whether the client has disconnected. */
function isGone(response: Response): boolean {
  return response.closed || response.req.socket.destroyed;
}
