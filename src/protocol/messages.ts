/** The shapes of the wire, version 1: see docs/protocol.md. Only types, which the gateway and its clients share. */

import type { ErrorBody } from './errors.js';

/** The absolute counts of one post at one version. Metric names stand beside `post`: `{ post, e, v, likes: 3, … }`. */
export interface Update {
  readonly post: string;
  /** Epoch: opaque. Counts with another epoch replace all earlier ones. */
  readonly e: string;
  /** Version: grows within an epoch; counts at or below the latest version are old. */
  readonly v: number;
  /** Current viewers; valid whatever `v` is. */
  readonly live: number;
  /** Only in frames: what changed since the previous frame. */
  readonly d?: Readonly<Record<string, number>>;
  readonly [metric: string]: unknown;
}

export interface Failure {
  readonly ok: false;
  readonly error: ErrorBody;
}

/** Rules by which clients show their own operations before these are counted. */
export interface MetricRules {
  /** By group, its options. Left out without groups. */
  readonly choices?: Readonly<Record<string, readonly string[]>>;
  /** The metrics that need not count an operation. Left out without any. */
  readonly uniques?: readonly string[];
}

export interface SubscribeResponse extends MetricRules {
  readonly ok: true;
  readonly tickMs: number;
  readonly counts: readonly (Update & { readonly mine: readonly string[] })[];
  readonly rejected?: readonly { readonly post: string; readonly error: ErrorBody }[];
}

export interface OperationResponse {
  readonly ok: true;
  /** Whether this request changed the count. */
  readonly applied: boolean;
  /** Whether the session had used this `seq` before. */
  readonly duplicate: boolean;
  /** Only for the operation with which a count reached a milestone, and for its duplicates. */
  readonly reached?: true;
  /** Only for toggles: the actor's current state. */
  readonly on?: boolean;
  readonly counts: Update;
}

export interface MineEvent {
  readonly post: string;
  readonly metric: string;
  readonly on: boolean;
}

/** A count of a post has reached a milestone. Counts that include it may come later. */
export interface MilestoneEvent {
  readonly post: string;
  readonly metric: string;
  /** The number that was reached. */
  readonly n: number;
  /** The version of the first counts that include it. */
  readonly v: number;
  /** RFC 3339 in UTC, with milliseconds. */
  readonly at: string;
}

export interface ByeEvent {
  readonly reason: string;
  readonly retryAfterMs: number;
}
