import type { CopyableStore } from './change-store.js';

/** A store that also counts the events of a log. */
export interface StoreBehindLog extends CopyableStore {
  /**
   * Up to where the events of a log are applied to a bucket, an offset of the log; 0: none are. After a failover it may have gone back,
   * together with what was applied.
   */
  logPosition(log: string, bucket: number): Promise<number>;
}
