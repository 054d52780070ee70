import type { LiveCounts, Post } from '../api.js';
import type { LiveCountsError } from '../errors.js';
import type { MilestoneList } from '../milestones.js';

/** Within this time the list is read when the count has passed without an event: all viewers would read at once. */
const LOST_EVENT_MS = 8_000;
/** A gateway calls a milestone final when it is 30 s old; a second more for clocks. */
const FINAL_MS = 31_000;
/** The winner reads the list then, and the others within this time after it. */
const FINAL_SPREAD_MS = 60_000;
/** The list is read again after this time if it could not be read, or if the milestone is not final yet. */
const AGAIN_MS = 10_000;
const READS_MAX = 3;

/** A milestone as far as the page knows it. */
export interface MilestoneState {
  /** The count; undefined until it arrives. */
  readonly count?: number;
  /** When it was reached, RFC 3339; undefined before. */
  readonly at?: string;
  readonly mine: boolean;
  readonly final: boolean;
  /** Nobody reached it: no single operation did. */
  readonly missed: boolean;
  /** It was reached while this page watched. */
  readonly isNews: boolean;
}

export interface MilestoneTarget {
  readonly metric: string;
  readonly n: number;
}

interface Listener {
  changed(state: MilestoneState): void;
  failed(error: LiveCountsError): void;
  /** @param count undefined if the gateway has no such metric */
  notArmed(count: number | undefined): void;
}

/**
 * Follows one milestone of a post. The list is read with the first counts, when the count has passed without an event, and until the
 * milestone is final, three times at most each. What the page has found out stays when it stops and starts again.
 */
export class MilestoneWatch {
  #state: MilestoneState = { mine: false, final: false, missed: false, isNews: false };
  /** Whether a list has arrived, and whether one has said that the milestone is armed, or may be. */
  #isKnown = false;
  #wasArmed = false;
  #isUnknownMetric = false;
  #isFirstCount = false;
  #readsLeft = READS_MAX;
  #live: LiveCounts | undefined;
  #post: Post | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stop: (() => void) | undefined;

  constructor(
    private readonly target: MilestoneTarget,
    private readonly listener: Listener,
  ) {}

  /** @throws LiveCountsError if the id of the post is invalid, or the client is closed */
  start(live: LiveCounts, postId: string): void {
    this.stop();
    if (this.#live !== undefined && live !== this.#live) this.#forgetActor();
    this.#live = live;
    const { metric, n } = this.target;
    const post = (this.#post = live.post(postId));
    this.#isFirstCount = true;
    const unlisten = post.onMilestone((milestone) => {
      if (milestone.metric === metric && milestone.n === n) this.#reach({ ...milestone, isNews: true });
    });
    this.#stop = unlisten;
    const unsubscribe = post.subscribe(
      ({ counts }) => this.#receive(Object.hasOwn(counts, metric) ? counts[metric] : undefined),
      (error) => this.listener.failed(error),
      { present: false },
    );
    this.#stop = () => {
      unlisten();
      unsubscribe();
    };
  }

  stop(): void {
    this.#stop?.();
    this.#stop = this.#post = undefined;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Another client may have another actor, who has not won what the one before has. */
  #forgetActor(): void {
    this.#state = { ...this.#state, mine: false, final: false };
    this.#isKnown = false;
    this.#readsLeft = READS_MAX;
  }

  #receive(count: number | undefined): void {
    if (count === undefined) {
      if (!this.#isUnknownMetric) this.listener.notArmed(undefined);
      this.#isUnknownMetric = true;
      return;
    }
    this.#change({ count });
    const isFirst = this.#isFirstCount;
    this.#isFirstCount = false;
    const hasPassed = count >= this.target.n;
    if (!hasPassed) this.#readsLeft = READS_MAX;
    if (this.#state.final || this.#timer !== undefined) return;
    if (isFirst && (hasPassed || !this.#isKnown)) this.#readLater(0);
    // The count has operations of this page that are not counted yet, so the list decides.
    else if (hasPassed && this.#wasArmed && this.#state.at === undefined)
      this.#readLater(Math.random() * LOST_EVENT_MS);
  }

  #reach({ at, mine, isNews }: { readonly at: string; readonly mine: boolean; readonly isNews: boolean }): void {
    const isFirst = this.#state.at === undefined;
    this.#change({ at, mine: mine || this.#state.mine, isNews: isNews || this.#state.isNews });
    if (this.#state.final || !isFirst) return;
    this.#readsLeft = READS_MAX;
    this.#readLater(FINAL_MS + (this.#state.mine ? 0 : Math.random() * FINAL_SPREAD_MS));
  }

  #readLater(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = this.#readsLeft > 0 ? setTimeout(() => void this.#read(), ms) : undefined;
  }

  async #read(): Promise<void> {
    const post = this.#post!;
    this.#readsLeft--;
    const read = this.#timer;
    let list: MilestoneList | undefined;
    try {
      list = await post.milestones(this.target.metric);
    } catch (error) {
      if (post === this.#post) this.listener.failed(error as LiveCountsError);
    }
    // It was stopped meanwhile.
    if (post !== this.#post) return;
    if (list) this.#apply(list);
    // An event, or the list itself, has set another time for the next read.
    if (read !== this.#timer) return;
    this.#timer = undefined;
    if (!list || (this.#state.at !== undefined && !this.#state.final)) this.#readLater(AGAIN_MS);
  }

  #apply({ armed, reached, partial }: MilestoneList): void {
    const { n } = this.target;
    this.#isKnown = true;
    const found = reached.find((one) => one.n === n);
    if (found) {
      const { at, mine = false, final, missed = false } = found;
      // After a failover another operation may have reached it than the one of this page.
      this.#state = { ...this.#state, mine, final, missed };
      this.#reach({ at, mine, isNews: this.#wasArmed });
    } else if (armed.includes(n) || partial) {
      this.#wasArmed = true;
    } else if (this.#state.at === undefined) {
      this.listener.notArmed(this.#state.count);
    }
  }

  #change(change: Partial<MilestoneState>): void {
    this.#state = { ...this.#state, ...change };
    this.listener.changed(this.#state);
  }
}
