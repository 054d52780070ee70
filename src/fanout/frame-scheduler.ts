import type { Clock } from '../common/clock.js';
import { CooldownQueue } from './cooldown-queue.js';
import { FrameCache, type EncodedUpdate } from './frame.js';
import { ReadyQueue } from './ready-queue.js';
import { AdaptiveTick } from './adaptive-tick.js';
import type { Subscription, Viewer } from './viewer.js';

/**
 * Updates written before other events get their turn: about 3 ms. A fifth of that made each frame a tenth dearer, for
 * the turns between.
 */
const PASS_WORK = 8_192;
const PASS_MS = 3;
/**
 * The same while viewers come, 0.1 ms: Node takes in one new connection a turn, and those of a gateway that died come by
 * the thousand.
 */
const ARRIVING_WORK = 256;
/** After a viewer came, others may be about to. */
const ARRIVING_MS = 500;
/** Where other events take longer than that, this much more is written at once, or viewers would starve: 6 ms. */
const PASSES_MAX = 2;
/** Writing a frame costs as much as this many updates in it. */
const WRITE_WORK = 32;
/** How long a viewer may stay behind before it is cut. */
const BEHIND_MAX_MS = 30_000;

export interface FrameSchedulerStats {
  /** Since boot: frames written, bytes in them, frames put off because the viewer was behind, viewers cut. */
  frames: number;
  frameBytes: number;
  postponed: number;
  disconnected: number;
}

/**
 * Writes to viewers: at most one frame each in a tick, with the newest state of all its posts that changed. Cost: a step
 * a viewer a frame. What a viewer has not been sent is never queued: only which of its posts are dirty.
 *
 *     changes   c1 c2   c3                    c4
 *     viewer    ├f(c1)──────┤f(c3)──────┤     ├f(c4)──────┤       f: a frame; ├──┤: a tick
 */
export class FrameScheduler {
  readonly #cooling: CooldownQueue;
  readonly #ready = new ReadyQueue();
  readonly #frames = new FrameCache();
  /** The parts of the frame that is being put together. */
  readonly #parts: EncodedUpdate[] = [];
  readonly #tempo: AdaptiveTick;
  #passing = false;
  #arrivedAtMs = -Infinity;
  /** When a pass that is not through left the rest for later; `Infinity` when there is none. */
  #yieldedAtMs = Infinity;
  /** When those who wait now began to be written to; `null` while nobody waits. */
  #roundAtMs: number | null = null;
  readonly stats: FrameSchedulerStats = { frames: 0, frameBytes: 0, postponed: 0, disconnected: 0 };

  constructor(
    private readonly clock: Clock,
    tickMs: number,
    /** A viewer stayed behind for too long: it is not to be given anything more. */
    private readonly close: (viewer: Viewer) => void,
  ) {
    this.#tempo = new AdaptiveTick(tickMs);
    this.#cooling = new CooldownQueue(clock, this.#tempo, (viewers) => this.#cooled(viewers));
  }

  get tickMs(): number {
    return this.#tempo.tickMs(this.clock.nowMs());
  }

  /** A connection came that may want frames, too. */
  connectionOpened(): void {
    this.#arrivedAtMs = this.clock.nowMs();
  }

  /** Something of the viewer's became dirty; `runSlice` is to follow. */
  schedule(viewer: Viewer): void {
    if (viewer.frameState !== 'idle') return;
    viewer.frameState = 'ready';
    this.#ready.push(viewer);
  }

  /** To those who are behind, too. */
  flush(viewers: Iterable<Viewer>): void {
    for (const viewer of viewers) if (viewer.dirty.length > 0) this.#send(viewer);
  }

  /** Writes to all that are ready, a slice at a time so that other events are not kept waiting. */
  runSlice(): void {
    if (this.#passing || this.#ready.length === 0) return;
    const startMs = this.clock.nowMs();
    const { cycles: rounds } = this.#ready;
    const workMax = this.#workMax(startMs);
    const goesOn = this.#yieldedAtMs !== Infinity;
    const cooling: Viewer[] = [];
    for (let work = 0; work < workMax;) {
      const viewer = this.#ready.shift();
      if (viewer === undefined) break;
      work += WRITE_WORK + viewer.dirty.length;
      if (this.#write(viewer, startMs)) {
        viewer.frameState = 'cooling';
        cooling.push(viewer);
      } else rest(viewer);
    }
    const nowMs = this.clock.nowMs();
    this.#tempo.recordWriting(startMs, nowMs);
    this.#timeRound(startMs, nowMs, this.#ready.cycles > rounds);
    if (cooling.length > 0) this.#cooling.add(cooling, nowMs, goesOn);
    this.#yieldedAtMs = Infinity;
    if (this.#ready.length > 0) this.#passAgain(nowMs);
  }

  #workMax(nowMs: number): number {
    if (nowMs - this.#arrivedAtMs < ARRIVING_MS) return ARRIVING_WORK;
    return PASS_WORK * Math.min(PASSES_MAX, Math.max(1, (nowMs - this.#yieldedAtMs) / PASS_MS));
  }

  #passAgain(nowMs: number): void {
    this.#yieldedAtMs = nowMs;
    this.#passing = true;
    this.clock.soon(() => {
      this.#passing = false;
      this.runSlice();
    });
  }

  #timeRound(startMs: number, nowMs: number, ended: boolean): void {
    this.#roundAtMs ??= startMs;
    if (!ended) return;
    this.#tempo.cycleTook(nowMs - this.#roundAtMs, nowMs);
    this.#roundAtMs = this.#ready.length > 0 ? nowMs : null;
  }

  #cooled(viewers: readonly Viewer[]): void {
    for (const viewer of viewers) {
      if (viewer.dirty.length > 0) {
        viewer.frameState = 'ready';
        this.#ready.push(viewer);
      } else rest(viewer);
    }
    this.runSlice();
  }

  /** @returns whether its next frame has to wait for a tick: not if there was nothing to send. */
  #write(viewer: Viewer, nowMs: number): boolean {
    if (viewer.dirty.length === 0) return false;
    if (viewer.sink.hasUnsent) return this.#postpone(viewer, nowMs);
    viewer.unsentSinceMs = null;
    this.#send(viewer);
    return true;
  }

  #send(viewer: Viewer): void {
    const parts = this.#parts;
    for (const subscription of viewer.dirty) parts.push(give(subscription));
    viewer.dirty.length = 0;
    const frame = this.#frames.frameFor(parts);
    parts.length = 0;
    this.stats.frames += 1;
    this.stats.frameBytes += frame.length;
    viewer.sink.write(frame);
  }

  #postpone(viewer: Viewer, nowMs: number): boolean {
    this.stats.postponed += 1;
    viewer.unsentSinceMs ??= nowMs;
    if (nowMs - viewer.unsentSinceMs < BEHIND_MAX_MS) return true;
    this.stats.disconnected += 1;
    this.close(viewer);
    viewer.sink.disconnectSlow();
    return false;
  }
}

/** Nothing waits for the viewer, so there is nothing that it is behind with. */
function rest(viewer: Viewer): void {
  viewer.frameState = 'idle';
  viewer.unsentSinceMs = null;
}

/** Gives the viewer the newest state of a post. A dirty subscription was given a state before, so it has a base. */
function give(subscription: Subscription): EncodedUpdate {
  const { watched, baseline: base } = subscription;
  const latest = watched.latest!;
  subscription.baseline = latest;
  watched.markClean(subscription);
  return latest.encodeSince(base!);
}
