import type { Key64 } from '../../src/counters/ids.js';
import { Metrics } from '../../src/counters/metrics.js';
import { Fanout, type FirstView } from '../../src/fanout/fanout.js';
import type { Frame } from '../../src/fanout/frame.js';
import type { EncodedMilestone, FrameSink, Viewer } from '../../src/fanout/viewer.js';
import { Presence } from '../../src/fanout/presence.js';
import type { Update } from '../../src/protocol/messages.js';
import { ScriptedStore } from './scripted-store.js';
import { SimulatedClock } from './simulated-clock.js';

export const TICK_MS = 100;
export const METRICS = Metrics.parse('likes:toggle,views:tally');

/** The key of an actor. */
export const ADA: Key64 = { hi: 1, lo: 1 };

/** Long enough for the number of viewers to be sent: presence and a tick. */
export const CALM_MS = 1_000;

/** A viewer's end of the connection: records its frames. */
export class RecordingSink implements FrameSink {
  readonly frames: { readonly atMs: number; readonly updates: readonly Update[] }[] = [];
  hasUnsent = false;
  /** Whether a frame stays unread until the test clears `hasUnsent`. */
  slow = false;
  /** How long it takes the gateway to write a frame. */
  writeMs = 0;
  disconnects = 0;

  constructor(private readonly clock: SimulatedClock) {}

  /** Whether a frame may follow an unread one, as in a drain. */
  draining = false;

  write({ body }: Frame): void {
    if (this.hasUnsent && !this.draining) throw new Error('a frame was written while another was on its way');
    this.frames.push({ atMs: this.clock.nowMs(), updates: JSON.parse(body) as Update[] });
    this.hasUnsent = this.slow;
    this.clock.spend(this.writeMs);
  }

  readonly milestones: unknown[] = [];

  sendMilestone({ body }: EncodedMilestone): void {
    this.milestones.push(JSON.parse(body));
  }

  disconnectSlow(): void {
    this.disconnects += 1;
  }

  /** All updates, a frame after the other. */
  get updates(): readonly Update[] {
    return this.frames.flatMap(({ updates }) => updates);
  }

  get last(): Update | undefined {
    return this.updates.at(-1);
  }

  /** Forgets the frames so far. */
  clear(): void {
    this.frames.length = 0;
  }
}

/** Fan-out in simulated time, over a scripted store. */
export class FanoutWorld {
  readonly clock = new SimulatedClock();
  readonly store = new ScriptedStore();
  readonly presence = new Presence(this.clock, true);
  readonly fanout = new Fanout(this.store, this.presence, this.clock, METRICS, TICK_MS);

  open(actor: Key64 | null = null): { viewer: Viewer; sink: RecordingSink } {
    const sink = new RecordingSink(this.clock);
    return { viewer: this.fanout.open(actor, sink), sink };
  }

  /** Resolves with the viewer's first snapshot. */
  async subscribe(
    viewer: Viewer,
    posts: readonly string[],
    actor: Key64 | null,
    isPresent = true,
  ): Promise<FirstView[]> {
    let shown: FirstView[] = [];
    await this.fanout.subscribe(viewer, posts, actor, (first) => (shown = first), isPresent);
    return shown;
  }

  /** A viewer of the posts, after the frames caused by its arrival. */
  async watching(...posts: string[]): Promise<{ viewer: Viewer; sink: RecordingSink; first: FirstView[] }> {
    const { viewer, sink } = this.open();
    const first = await this.subscribe(viewer, posts, null);
    await this.clock.advance(CALM_MS);
    sink.clear();
    return { viewer, sink, first };
  }
}
