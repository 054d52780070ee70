import type { BatchSenderOptions } from './batch-sender.js';
import type { Forwarding } from './forwarding.js';

export interface IngestOptions extends BatchSenderOptions {
  readonly buckets: number;
  /** FLUSH_MS: how long an operation waits for others to join its batch. */
  readonly flushMs: number;
  /** Only with other regions. */
  readonly forwarding?: Forwarding;
}

/** Observes seconds, as prom-client's histograms do. */
export interface Observer {
  observe(seconds: number): void;
}
