import type { ServerResponse } from 'node:http';
import { callAtExpiry, TOKEN_EXPIRED } from '../access/authenticator.js';
import type { Clock, Timer } from '../common/clock.js';
import type { Frame } from '../fanout/frame.js';
import type { ActorStream } from '../fanout/actor-streams.js';
import type { EncodedMilestone, FrameSink } from '../fanout/viewer.js';
import type { ByeEvent, MineEvent } from '../protocol/messages.js';

/** Balancers close connections that are idle for a minute, some after half of that. */
const HEARTBEAT_MS = 15_000;
/** Time for a client to read the last event. */
const FINAL_READ_MS = 5_000;
/** Milestones that wait for a client, of up to 200 bytes each. Further ones are dropped. */
const WAITING_MILESTONES_MAX = 16;

/** The connection closes with the stream, so that a drain does not wait for it to become idle. */
export const STREAM_HEADERS = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-store',
  // Otherwise nginx buffers frames.
  'X-Accel-Buffering': 'no',
  Connection: 'close',
} as const;

/**
 * One client's Server-Sent Events: https://html.spec.whatwg.org/multipage/server-sent-events.html
 *
 *     new ──begin──→ open ──bye──→ ending ──read or FINAL_READ_MS──→ closed
 *
 * Only while it is open anything is written, so before and after it is `hasUnsent`. It holds at most Node's buffer (16 KiB)
 * and a frame: then it is behind until that is sent, and fan-out keeps nothing for it but which posts changed. Of `mine` the
 * newest event of each toggle waits meanwhile, and the first ones of milestones.
 */
export class EventStream implements FrameSink, ActorStream {
  #hasUnsent = true;
  /** By post and metric. */
  readonly #waitingMine = new Map<string, MineEvent>();
  /** The bodies of events; created with the first. */
  #waitingMilestones: string[] | null = null;
  #timer: Timer | null = null;
  #expiry: Timer | null = null;
  #isEnding = false;

  constructor(
    private readonly response: ServerResponse,
    private readonly clock: Clock,
  ) {}

  get hasUnsent(): boolean {
    return this.#hasUnsent;
  }

  /** `body`: the snapshot, as a frame's. */
  start(body: string): void {
    this.response.on('drain', this.#drained);
    this.response.writeHead(200, STREAM_HEADERS);
    this.#hasUnsent = false;
    this.#write(body);
    this.#flush();
    this.#timer = this.clock.after(HEARTBEAT_MS, this.#beat);
  }

  write({ body }: Frame): void {
    if (!this.#isEnding) this.#write(body);
  }

  sendMine(event: MineEvent): void {
    this.#waitingMine.set(`${event.post} ${event.metric}`, event);
    this.#flush();
  }

  sendMilestone({ body }: EncodedMilestone): void {
    const waiting = (this.#waitingMilestones ??= []);
    if (waiting.length < WAITING_MILESTONES_MAX) waiting.push(body);
    this.#flush();
  }

  #flush(): void {
    while (!this.#hasUnsent && this.#waitingMilestones !== null) {
      this.#write(this.#waitingMilestones.shift()!, 'milestone');
      if (this.#waitingMilestones.length === 0) this.#waitingMilestones = null;
    }
    for (const [key, event] of this.#waitingMine) {
      if (this.#hasUnsent) return;
      this.#waitingMine.delete(key);
      this.#write(JSON.stringify(event), 'mine');
    }
  }

  #write(body: string, event = 'counts'): void {
    if (!this.response.write(`event: ${event}\ndata: ${body}\n\n`)) this.#hasUnsent = true;
  }

  /** The connection, because a response that waits behind another has none to destroy yet. */
  disconnectSlow(): void {
    this.response.req.socket.destroy();
  }

  /** Ends the stream with its token; `null`: that never expires. */
  expireAt(wallMs: number | null): void {
    this.#expiry = callAtExpiry(wallMs, this.clock, () => this.sendBye({ reason: TOKEN_EXPIRED, retryAfterMs: 0 }));
  }

  /** The last event; `retry` makes an EventSource come back no sooner. */
  sendBye(event: ByeEvent): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#hasUnsent = true;
    this.response.end(`retry: ${event.retryAfterMs}\nevent: bye\ndata: ${JSON.stringify(event)}\n\n`);
    this.#timer?.cancel();
    this.#timer = this.clock.after(FINAL_READ_MS, () => this.disconnectSlow());
  }

  /** The connection is gone. */
  dispose(): void {
    this.#timer?.cancel();
    this.#expiry?.cancel();
  }

  readonly #drained = (): void => {
    this.#hasUnsent = this.#isEnding;
    this.#flush();
  };

  /** One who is behind has something to read. */
  readonly #beat = (): void => {
    if (!this.#hasUnsent && !this.response.write(': heartbeat\n\n')) this.#hasUnsent = true;
    this.#timer = this.clock.after(HEARTBEAT_MS, this.#beat);
  };
}
