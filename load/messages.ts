import type { RecordableHistogram } from 'node:perf_hooks';
import type { Load } from './arguments.js';
import type { Expected, Totals } from './ledger.js';

/** Enough for 10,000 actors and 25,000 viewers. */
const CONNECTION_DIGITS = 5;

/** The data that a thread gets when it starts. */
export interface ThreadAssignment {
  readonly load: Load;
  /** 13 digits that make the names of this run's actors and sessions unique. */
  readonly run: number;
  /** Number of the thread. It takes each viewer, actor and operation whose number leaves this remainder. */
  readonly thread: number;
}

/** @returns the id of a post on the wire */
export function formatPostId({ prefix }: Load, post: number): string {
  return `${prefix}-${post}`;
}

/** @returns a decimal int64 of 18 digits, which gateways accept with every value of `ACTOR_KEYS` */
export function formatActorName({ run }: ThreadAssignment, connection: number): string {
  return `${run}${String(connection).padStart(CONNECTION_DIGITS, '0')}`;
}

export type ThreadCommand =
  /** Opens all connections. */
  | { readonly kind: 'connect' }
  /** Starts the schedule at this time, in ms since 1970. */
  | { readonly kind: 'start'; readonly atMs: number }
  /** Ends the schedule now. */
  | { readonly kind: 'finish' }
  /** Compares what viewers show with these totals, indexed by the number of the post. */
  | { readonly kind: 'verify'; readonly totals: readonly Totals[] };

/** The figures of one second of a thread. */
export interface Second {
  /** Seconds since the start: 0, 1, 2 … */
  readonly at: number;
  /** Operations that were due. */
  readonly due: number;
  readonly acknowledged: number;
  /** Operations that were not sent, because their connection had too many unacknowledged ones. */
  readonly shed: number;
  /** Operations whose first acknowledgement was lost: counted once, acknowledged when they were resent. */
  readonly duplicates: number;
  readonly frames: number;
  /** Received bytes of all payloads. */
  readonly bytes: number;
  readonly errors: readonly (readonly [code: string, count: number])[];
  /** Time from when an operation was due to its acknowledgement, in µs. */
  readonly toAnswer: RecordableHistogram;
  /** Time from when an operation was due to the first frame that shows it, in µs. */
  readonly toScreen: RecordableHistogram;
  /** The longest event-loop delay of the thread. */
  readonly lagMs: number;
}

/** The final state of a thread's viewers. */
export interface ViewerComparison {
  /** Viewers that do not show the totals, and the posts of the first few. */
  readonly stale: number;
  readonly staleExamples: readonly string[];
  /** Viewers whose frames were all read. */
  readonly read: number;
  /** Among these: viewers whose `d` did not add up to the totals, and viewers that got an older version. */
  readonly adrift: number;
  readonly backwards: number;
}

export type ThreadReport =
  | { readonly kind: 'connected'; readonly connections: number }
  | { readonly kind: 'ready' }
  | { readonly kind: 'second'; readonly second: Second }
  | {
      readonly kind: 'drained';
      readonly expected: Expected;
      /** Operations that were sent and never answered. */
      readonly unanswered: number;
      /** Operations that were never sent, because there was no connection in time. */
      readonly unsent: number;
    }
  | { readonly kind: 'verified'; readonly shown: ViewerComparison }
  | { readonly kind: 'fatal'; readonly message: string };
