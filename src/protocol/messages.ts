/** The shapes that cross the wire, version 1: see docs/protocol.md. Types only, for the gateway and its clients alike. */

import type { ErrorBody } from './errors.js';

/** The absolute counts of one post at one version. Metric names stand beside `post`: `{ post, e, v, likes: 3, … }`. */
export interface Update {
  readonly post: string;
  /** Epoch: opaque. Another one than known replaces what is known. */
  readonly e: string;
  /** Grows within an epoch; counts at or below the known version are old. */
  readonly v: number;
  /** Viewers now; taken as it comes, whatever `v`. */
  readonly live: number;
  /** In frames only: what changed since the frame before. */
  readonly d?: Readonly<Record<string, number>>;
  readonly [metric: string]: unknown;
}

export interface Failure {
  readonly ok: false;
  readonly error: ErrorBody;
}

export interface SubscribeResponse {
  readonly ok: true;
  readonly tickMs: number;
  readonly counts: readonly (Update & { readonly mine: readonly string[] })[];
  readonly rejected?: readonly { readonly post: string; readonly error: ErrorBody }[];
}

export interface OperationResponse {
  readonly ok: true;
  /** This request changed the count. */
  readonly applied: boolean;
  /** The session had already done this `seq`. */
  readonly duplicate: boolean;
  /** Toggles only: the actor's state now. */
  readonly on?: boolean;
  readonly counts: Update;
}

export interface MineEvent {
  readonly post: string;
  readonly metric: string;
  readonly on: boolean;
}

export interface ByeEvent {
  readonly reason: string;
  readonly retryAfterMs: number;
}
