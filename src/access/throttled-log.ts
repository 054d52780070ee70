import type { Clock } from '../common/clock.js';

const AGAIN_MS = 60_000;
/** Subjects in a minute, because clients choose some of them. */
const SUBJECTS_MAX = 10;

/** A log of faults that clients may repeat: a line a minute for each subject, and ten lines a minute at most. */
export class ThrottledLog {
  /** When each subject was logged, milliseconds; the oldest comes first. */
  readonly #loggedAtMs = new Map<string, number>();

  /** @param write writes a line to the log */
  constructor(
    private readonly clock: Clock,
    private readonly write: (message: string) => void,
  ) {}

  /** @returns whether it was written */
  warn(subject: string, message: string): boolean {
    const nowMs = this.clock.nowMs();
    for (const [logged, atMs] of this.#loggedAtMs) {
      if (nowMs - atMs < AGAIN_MS) break;
      this.#loggedAtMs.delete(logged);
    }
    if (this.#loggedAtMs.has(subject) || this.#loggedAtMs.size >= SUBJECTS_MAX) return false;
    this.#loggedAtMs.set(subject, nowMs);
    this.write(message);
    return true;
  }
}
