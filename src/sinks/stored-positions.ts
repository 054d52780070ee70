import { type CopyPosition, NOT_SYNCED } from '../counters/changed-posts.js';
import { compareIncarnations } from '../counters/pn-counter.js';
import type { ChangeStore } from '../store/change-store.js';
import type { BucketWrite, Sink, SinkPosition } from './sink.js';

/** The part of a store that keeps positions. */
export type PositionStore = Pick<ChangeStore, 'readPositions' | 'savePositions'>;

/** Takes posts to a system that cannot keep positions for them. */
export interface PostReceiver {
  /** In logs and metrics, without secrets. */
  readonly name: string;

  /**
   * Called before anything is sent, and again after each failure and whenever another gateway has sent.
   * @returns whether the receiver still has what it got before: one that was emptied gets all posts again. The next call returns
   * false, too, if nothing is sent before it.
   * @throws SinkError
   */
  open(): Promise<boolean>;

  /**
   * Resolves when the receiver has all posts.
   * @returns false: another gateway sends now, and the receiver has some of the posts at most
   * @throws SinkError; then it is unknown which of the posts it has
   */
  send(writes: readonly BucketWrite[]): Promise<boolean>;

  close(): Promise<void>;
}

/**
 * A sink whose positions the store keeps. They are saved after the posts have arrived, so posts that arrived before a failure are sent
 * again: at least once.
 */
export class StoredPositions implements Sink {
  readonly keepsPositions = false;
  readonly keepsMembers = false;
  /** As this gateway last read or saved them. */
  #positions = new Map<number, CopyPosition>();
  /** Whether the receiver was emptied, and the store does not say so yet. */
  #wasEmptied = false;

  /** @param copy stable, because the positions are kept under it */
  constructor(
    private readonly store: PositionStore,
    private readonly copy: string,
    private readonly receiver: PostReceiver,
  ) {}

  get name(): string {
    return this.receiver.name;
  }

  async readPositions(): Promise<ReadonlyMap<number, SinkPosition>> {
    if (!(await this.receiver.open())) this.#wasEmptied = true;
    this.#positions = new Map(await this.store.readPositions(this.copy));
    if (this.#wasEmptied) await this.#voidPositions();
    this.#wasEmptied = false;
    // Whether they are complete is of no use, because they are of the current incarnation or of none.
    return new Map([...this.#positions].map(([bucket, position]) => [bucket, { ...position, isComplete: false }]));
  }

  async write(writes: readonly BucketWrite[], mayWrite: () => boolean): Promise<boolean> {
    // A gateway that was paused for long may have lost the lease. It must not send states that are older than those of its successor.
    if (!(await this.#isUnchanged()) || !mayWrite()) return false;
    const isEmpty = writes.every(({ posts, milestones }) => posts.length + milestones.length === 0);
    if (!isEmpty && !(await this.receiver.send(writes))) return false;
    await this.#save(writes.map(({ bucket, position }) => [bucket, position]));
    return true;
  }

  /** Another gateway, or this one, notices at its next write that the positions are other ones, and reads them again. */
  async adopt(): Promise<void> {
    const positions = await this.store.readPositions(this.copy);
    await this.store.savePositions(this.copy, new Map([...positions].map(([bucket, one]) => [bucket, voided(one)])));
  }

  close(): Promise<void> {
    return this.receiver.close();
  }

  /** Remembers in the store that all buckets need a full sync, because this gateway may end before it is done. */
  async #voidPositions(): Promise<void> {
    await this.#save([...this.#positions].map(([bucket, position]) => [bucket, voided(position)]));
  }

  async #save(positions: readonly (readonly [number, CopyPosition])[]): Promise<void> {
    await this.store.savePositions(this.copy, new Map(positions));
    for (const [bucket, position] of positions) this.#positions.set(bucket, position);
  }

  async #isUnchanged(): Promise<boolean> {
    const stored = await this.store.readPositions(this.copy);
    const isSame = ([bucket, position]: [number, CopyPosition]): boolean =>
      isEqual(position, this.#positions.get(bucket));
    return stored.size === this.#positions.size && [...stored].every(isSame);
  }
}

/** A full sync follows. The store keeps the position, because it cannot forget one. */
function voided(position: CopyPosition): CopyPosition {
  return { ...position, upTo: NOT_SYNCED };
}

function isEqual(position: CopyPosition, other: CopyPosition | undefined): boolean {
  return (
    other !== undefined &&
    compareIncarnations(position, other) === 'same' &&
    position.upTo === other.upTo &&
    position.changedAtMs === other.changedAtMs
  );
}
