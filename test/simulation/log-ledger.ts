import { isDeepStrictEqual } from 'node:util';
import { groupBy } from '../../src/common/grouping.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { computeTotal, computeTotals } from '../../src/counters/bucket.js';
import type { Key64 } from '../../src/counters/ids.js';
import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import type { ReachedMilestone } from '../../src/counters/milestones.js';
import type { DeadLetter, LogEntry } from '../../src/log/event-log.js';
import { type DecodedEntry, decodeEntry, type LoggedEvent } from '../../src/log/log-entry.js';
import { BUCKETS, type LogStore, METRICS } from './log-store.js';

/** Sums of this many values are too many to be tried. */
const MAYBE_MAX = 12;

interface Appended {
  readonly partition: number;
  readonly entry: LogEntry;
  readonly decoded: DecodedEntry;
}

/** An event of an entry that may be lost. */
interface Appearance {
  readonly event: LoggedEvent;
  readonly isLost: boolean;
}

/** Everything that a log has ever had, and what a store has to have counted of it. */
export class LogLedger {
  readonly #appended: Appended[] = [];
  /** Entries that the log has lost: they may have been read before. */
  readonly #lost = new Set<LogEntry>();
  readonly #events = new Set<string>();
  readonly #lostLetters = new Set<string>();

  add(partition: number, entry: LogEntry): void {
    const decoded = decodeEntry(entry.payload, METRICS);
    this.#appended.push({ partition, entry, decoded });
    for (const event of decoded.events) this.#events.add(`${event.post} ${event.value}`);
  }

  loseEntries(entries: readonly LogEntry[]): void {
    for (const entry of entries) this.#lost.add(entry);
  }

  loseLetters(letters: readonly DeadLetter[]): void {
    for (const letter of letters) this.#lostLetters.add(toMapKey(letter));
  }

  /** Whether an event was appended at any time. */
  has({ post, value }: Pick<LoggedEvent, 'post' | 'value'>): boolean {
    return this.#events.has(`${post} ${value}`);
  }

  /** @returns how the store differs from what it should have counted; `''`: it does not */
  differenceOf(store: LogStore): string {
    for (const [post, appearances] of groupBy(this.#appearances, ({ event }) => event.post)) {
      const views = appearances.filter(({ event }) => event.metric === VIEWS);
      const likes = appearances.filter(({ event }) => event.metric === LIKES);
      const difference = this.#differenceOfViews(store, post, views) || this.#differenceOfLikes(store, post, likes);
      if (difference !== '') return difference;
    }
    return '';
  }

  /** @returns a milestone that was not reached by a single event, or not when it should have been; `''`: there is none */
  wrongMilestone(store: LogStore): string {
    const events = this.#appearances.map(({ event }) => event);
    for (let number = 0; number < BUCKETS; number++) {
      for (const { post, metric, milestones } of store.bucket(number).milestones.list()) {
        const { armed, reached } = milestones;
        const total = computeTotal(store.bucket(number).post(post)?.metrics[metric]);
        const name = `metric ${metric} of ${post}`;
        if (armed.some((n) => n <= total)) return `${name} is at ${total}, and ${String(armed)} are armed`;
        const all = [...armed, ...reached.map(({ n }) => n)];
        if (new Set(all).size < all.length) return `${name} has ${String(all)}`;
        const ofMetric = events.filter((event) => event.post === post && event.metric === metric);
        const wrong = reached.find((record) => !ofMetric.some((event) => isReachedBy(record, event)));
        if (wrong !== undefined) return `no event of ${name} has reached ${JSON.stringify(wrong)}`;
      }
    }
    return '';
  }

  /** @returns a dead event without a letter; `''`: each has one */
  missingLetter(letters: readonly DeadLetter[]): string {
    const present = new Set(letters.map(toMapKey));
    for (const { partition, entry, decoded } of this.#appended) {
      if (this.#lost.has(entry)) continue;
      for (const { index } of decoded.dead) {
        const key = toMapKey({ partition, offset: entry.offset, index });
        if (!present.has(key) && !this.#lostLetters.has(key)) return `no dead letter ${key}`;
      }
    }
    return '';
  }

  get #appearances(): readonly Appearance[] {
    return this.#appended.flatMap(({ entry, decoded }) =>
      decoded.events.map((event) => ({ event, isLost: this.#lost.has(entry) })),
    );
  }

  #differenceOfViews(store: LogStore, post: string, appearances: readonly Appearance[]): string {
    let certain = 0;
    const maybe: number[] = [];
    const keyed = groupBy(
      appearances.filter(({ event }) => event.session !== null),
      ({ event }) => toText(event.session!),
    );
    const single = appearances.filter(({ event }) => event.session === null).map((one) => [one]);
    for (const copies of [...keyed.values(), ...single]) {
      const { value } = copies[0]!.event;
      if (copies.some(({ isLost }) => !isLost)) certain += value;
      else maybe.push(value);
    }
    const state = store.bucket(bucketOf(post, BUCKETS)).post(post);
    const views = state === undefined ? 0 : computeTotals(state, METRICS)[VIEWS]!;
    const extra = views - certain;
    const isRight = maybe.length > MAYBE_MAX ? extra >= 0 : sumsOf(maybe).has(extra);
    return isRight ? '' : `${post} has ${views} views, not ${certain} and some of ${String(maybe)}`;
  }

  /** The last change that is no repetition decides. */
  #differenceOfLikes(store: LogStore, post: string, appearances: readonly Appearance[]): string {
    const bucket = store.bucket(bucketOf(post, BUCKETS));
    for (const copies of groupBy(appearances, ({ event }) => toText(event.actor!)).values()) {
      if (copies.some(({ isLost }) => isLost)) continue;
      const seen = new Set<string>();
      let on = false;
      for (const { event } of copies) {
        const session = event.session === null ? null : toText(event.session);
        if (session !== null && seen.has(session)) continue;
        if (session !== null) seen.add(session);
        on = event.value === 1;
      }
      const { actor } = copies[0]!.event;
      if (bucket.hasMember(post, LIKES, actor!) !== on)
        return `${post} should ${on ? '' : 'not '}be liked by ${toText(actor!)}`;
    }
    return '';
  }
}

function isReachedBy({ missed, n, total, ...record }: ReachedMilestone, event: LoggedEvent): boolean {
  if (missed || total < n || total - event.value >= n) return false;
  return (['kind', 'value', 'actor', 'session', 'seq'] as const).every((field) =>
    isDeepStrictEqual(record[field], event[field]),
  );
}

function sumsOf(values: readonly number[]): Set<number> {
  let sums = new Set([0]);
  for (const value of values) sums = new Set([...sums].flatMap((sum) => [sum, sum + value]));
  return sums;
}

function toText({ hi, lo }: Key64): string {
  return `${hi}:${lo}`;
}

function toMapKey({ partition, offset, index }: Pick<DeadLetter, 'partition' | 'offset' | 'index'>): string {
  return `${partition} ${offset}:${index}`;
}
