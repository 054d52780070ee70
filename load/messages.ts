import type { RecordableHistogram } from 'node:perf_hooks';
import type { Load } from './arguments.js';
import type { Expected, Totals } from './ledger.js';

/** For the 10,000 that act and the 25,000 that watch, at most. */
const CONNECTION_DIGITS = 5;

/** What a thread is given when it starts. */
export interface ThreadAssignment {
  readonly load: Load;
  /** Makes the names of actors and sessions of this run differ from every other's: 13 digits. */
  readonly run: number;
  /** Which of `load.threads` it is. It takes each viewer, actor and operation whose number leaves this remainder. */
  readonly thread: number;
}

/** Posts are named by their number on the command line's side, and by this on the wire. */
export function formatPostId({ prefix }: Load, post: number): string {
  return `${prefix}-${post}`;
}

/** By the number of a connection: a decimal int64 of 18 digits, which gateways take whatever their `ACTOR_KEYS` is. */
export function formatActorName({ run }: ThreadAssignment, connection: number): string {
  return `${run}${String(connection).padStart(CONNECTION_DIGITS, '0')}`;
}

export type ThreadCommand =
  /** Begin the schedule at this time, in ms since 1970. */
  | { readonly kind: 'start'; readonly atMs: number }
  /** End the schedule now. */
  | { readonly kind: 'finish' }
  /** Compare what viewers show with these totals, by the post's number. */
  | { readonly kind: 'verify'; readonly totals: readonly Totals[] };

/** What happened in one second of a thread. */
export interface Second {
  /** Since the start: 0, 1, 2 … */
  readonly at: number;
  /** Operations that the schedule wanted. */
  readonly due: number;
  readonly acknowledged: number;
  /** Operations that were left out, since too many of their connection waited already. */
  readonly shed: number;
  /** Operations that had been counted, but whose answer was lost: acknowledged when they were sent again. */
  readonly duplicates: number;
  readonly frames: number;
  /** Payloads received, of all kinds. */
  readonly bytes: number;
  readonly errors: readonly (readonly [code: string, count: number])[];
  /** From when an operation was due to its acknowledgement, in µs. */
  readonly toAnswer: RecordableHistogram;
  /** From when an operation was due to the first frame that shows it, in µs. */
  readonly toScreen: RecordableHistogram;
  /** The longest that the thread was kept from its sockets. */
  readonly lagMs: number;
}

/** What the viewers of a thread showed in the end. */
export interface ViewerComparison {
  /** Those that do not show the totals, the first few by name. */
  readonly stale: number;
  readonly staleExamples: readonly string[];
  /** Those of which every frame was read. */
  readonly read: number;
  /** Of these: those whose `d` did not add up to the totals, and those that were shown an older version. */
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
