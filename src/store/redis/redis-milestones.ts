import { Subject } from 'rxjs';
import type { ArmResult } from '../../counters/milestones.js';
import type { MilestoneNews, MilestonesView, MilestoneStore } from '../milestone-store.js';

/** Milestones in Redis. */
export class RedisMilestones implements MilestoneStore {
  readonly reached = new Subject<readonly MilestoneNews[]>();

  arm(): Promise<ArmResult> {
    return Promise.reject(new Error('milestones in Redis are not supported yet'));
  }

  disarm(): Promise<boolean> {
    return Promise.resolve(false);
  }

  read(): Promise<MilestonesView> {
    return Promise.resolve({ armed: [], reached: [] });
  }
}
