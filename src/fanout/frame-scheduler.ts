import type { Clock } from '../common/clock.js';
import { ViewerCooldownQueue } from './viewer-cooldown-queue.js';
import { FrameCache, type EncodedUpdate } from './frame.js';
import { ReadyViewers } from './ready-viewers.js';
import { AdaptiveTick } from './adaptive-tick.js';
import type { Subscription, Viewer } from './viewer.js';

/**
 * Updates written in one slice, before other events of the loop: about 3 ms. With slices of 0.6 ms each frame cost 10 %
 * more, because of the event-loop turns.
 */
const WORK_PER_SLICE = 8_192;
const SLICE_MS = 3;
/**
 * Updates in a slice while viewers connect, 0.1 ms: Node accepts one connection a turn of the loop, and the clients of a
 * gateway that was killed reconnect by the thousand.
 */
const WORK_PER_SLICE_WHILE_CONNECTING = 256;
/** After one viewer connected, more are likely to connect for this long. */
const CONNECTING_MS = 500;
/** If other events take longer than a slice, slices grow up to this factor, to 6 ms. Otherwise viewers would starve. */
const SLICE_FACTOR_MAX = 2;
/** Writing a frame costs as much as this many updates in it. */
const WRITE_WORK = 32;
/** A viewer whose sink has unsent frames for this long is disconnected. */
const SLOW_CONSUMER_MS = 30_000;

export interface FrameSchedulerStats {
  /** Since boot: frames written, their bytes, frames postponed because of unsent ones, slow viewers disconnected. */
  frames: number;
  frameBytes: number;
  postponed: number;
  disconnected: number;
}

/**
 * Writes to viewers: at most one frame each in a tick, with the newest state of all its posts that changed. Frames are never
 * queued: a viewer only has a list of its dirty posts.
 *
 *     changes   c1 c2   c3                    c4
 *     viewer    ├f(c1)──────┤f(c3)──────┤     ├f(c4)──────┤       f: a frame; ├──┤: a tick
 */
export class FrameScheduler {
  readonly #cooldown: ViewerCooldownQueue;
  readonly #ready = new ReadyViewers();
  readonly #frames = new FrameCache();
  /** The updates of the frame that is being built. */
  readonly #updates: EncodedUpdate[] = [];
  readonly #tick: AdaptiveTick;
  #isSliceDue = false;
  #connectedAtMs = -Infinity;
  /** When a slice ended with viewers left for the next; `Infinity`: none were left. */
  #yieldedAtMs = Infinity;
  /** When the current cycle began, which writes to all ready viewers once; `null` while none is ready. */
  #cycleAtMs: number | null = null;
  readonly stats: FrameSchedulerStats = { frames: 0, frameBytes: 0, postponed: 0, disconnected: 0 };

  constructor(
    private readonly clock: Clock,
    tickMs: number,
    /** Is called for a viewer that is about to be disconnected as slow. */
    private readonly close: (viewer: Viewer) => void,
  ) {
    this.#tick = new AdaptiveTick(tickMs);
    this.#cooldown = new ViewerCooldownQueue(clock, this.#tick, (viewers) => this.#endCooldown(viewers));
  }

  get tickMs(): number {
    return this.#tick.tickMs(this.clock.nowMs());
  }

  /** A viewer connected, and others may follow. */
  connectionOpened(): void {
    this.#connectedAtMs = this.clock.nowMs();
  }

  /** To be called when a subscription of the viewer became dirty, before `runSlice`. */
  schedule(viewer: Viewer): void {
    if (viewer.frameState !== 'idle') return;
    viewer.frameState = 'ready';
    this.#ready.push(viewer);
  }

  /** Writes at once, also to viewers with unsent frames. */
  flush(viewers: Iterable<Viewer>): void {
    for (const viewer of viewers) if (viewer.dirty.length > 0) this.#send(viewer);
  }

  /** Writes to ready viewers, a slice at a time, so that other events of the loop do not wait for long. */
  runSlice(): void {
    if (this.#isSliceDue || this.#ready.length === 0) return;
    const startMs = this.clock.nowMs();
    const { cycles } = this.#ready;
    const workMax = this.#workMax(startMs);
    const isContinued = this.#yieldedAtMs !== Infinity;
    const cooling: Viewer[] = [];
    for (let work = 0; work < workMax;) {
      const viewer = this.#ready.shift();
      if (viewer === undefined) break;
      work += WRITE_WORK + viewer.dirty.length;
      if (this.#write(viewer, startMs)) {
        viewer.frameState = 'cooling';
        cooling.push(viewer);
      } else becomeIdle(viewer);
    }
    const nowMs = this.clock.nowMs();
    this.#tick.recordWriting(startMs, nowMs);
    this.#measureCycle(startMs, nowMs, this.#ready.cycles > cycles);
    if (cooling.length > 0) this.#cooldown.add(cooling, nowMs, isContinued);
    this.#yieldedAtMs = Infinity;
    if (this.#ready.length > 0) this.#continueLater(nowMs);
  }

  #workMax(nowMs: number): number {
    if (nowMs - this.#connectedAtMs < CONNECTING_MS) return WORK_PER_SLICE_WHILE_CONNECTING;
    return WORK_PER_SLICE * Math.min(SLICE_FACTOR_MAX, Math.max(1, (nowMs - this.#yieldedAtMs) / SLICE_MS));
  }

  #continueLater(nowMs: number): void {
    this.#yieldedAtMs = nowMs;
    this.#isSliceDue = true;
    this.clock.soon(() => {
      this.#isSliceDue = false;
      this.runSlice();
    });
  }

  #measureCycle(startMs: number, nowMs: number, ended: boolean): void {
    this.#cycleAtMs ??= startMs;
    if (!ended) return;
    this.#tick.cycleTook(nowMs - this.#cycleAtMs, nowMs);
    this.#cycleAtMs = this.#ready.length > 0 ? nowMs : null;
  }

  #endCooldown(viewers: readonly Viewer[]): void {
    for (const viewer of viewers) {
      if (viewer.dirty.length > 0) {
        viewer.frameState = 'ready';
        this.#ready.push(viewer);
      } else becomeIdle(viewer);
    }
    this.runSlice();
  }

  /** @returns whether the viewer's next frame has to wait for a tick: not if nothing was to be sent */
  #write(viewer: Viewer, nowMs: number): boolean {
    if (viewer.dirty.length === 0) return false;
    if (viewer.sink.hasUnsent) return this.#postpone(viewer, nowMs);
    viewer.unsentSinceMs = null;
    this.#send(viewer);
    return true;
  }

  #send(viewer: Viewer): void {
    const updates = this.#updates;
    for (const subscription of viewer.dirty) updates.push(takeUpdate(subscription));
    viewer.dirty.length = 0;
    const frame = this.#frames.frameFor(updates);
    updates.length = 0;
    this.stats.frames += 1;
    this.stats.frameBytes += frame.length;
    viewer.sink.write(frame);
  }

  #postpone(viewer: Viewer, nowMs: number): boolean {
    this.stats.postponed += 1;
    viewer.unsentSinceMs ??= nowMs;
    if (nowMs - viewer.unsentSinceMs < SLOW_CONSUMER_MS) return true;
    this.stats.disconnected += 1;
    this.close(viewer);
    viewer.sink.disconnectSlow();
    return false;
  }
}

/** Nothing is to be sent to the viewer, so it is not slow. */
function becomeIdle(viewer: Viewer): void {
  viewer.frameState = 'idle';
  viewer.unsentSinceMs = null;
}

/** Marks the newest state of a post as sent to the viewer. A dirty subscription got a state before, so it has a baseline. */
function takeUpdate(subscription: Subscription): EncodedUpdate {
  const { watched, baseline } = subscription;
  const latest = watched.latest!;
  subscription.baseline = latest;
  watched.markClean(subscription);
  return latest.encodeSince(baseline!);
}
