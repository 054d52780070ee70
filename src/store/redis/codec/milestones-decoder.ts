import type { Metrics } from '../../../counters/metrics.js';
import {
  ARMED_MAX,
  ARMED_PER_BUCKET_MAX,
  type ArmResult,
  MILESTONE_FINAL_MS,
  MILESTONES_MAX,
  type PostMilestone,
  type ReachedMilestone,
} from '../../../counters/milestones.js';
import type { Operation } from '../../../counters/operation.js';
import type { MilestoneNews, MilestonesView, ReadMilestone } from '../../milestone-store.js';
import { modeAt } from './home-modes.js';
import { parseDecimalKey } from './key64-decimal.js';
import { MsgpackReader } from './msgpack-reader.js';

/** Kinds of operations in records of milestones. */
export const REACHED_BY: Readonly<Record<Operation['kind'], number>> = { add: 0, set: 1, adjust: 2, visit: 3 };
/** Values of a record in Redis: docs/redis-keys.md. */
export const RECORD_VALUES = 14;
const KINDS = Object.keys(REACHED_BY) as Operation['kind'][];

/** First value of a reply of scripts/arm-milestone-1.lua. */
export const ARM_REPLIES = {
  ARMED: 0,
  REPEATED: 1,
  PASSED: 2,
  REACHED: 3,
  FULL_ARMED: 4,
  FULL_MILESTONES: 5,
  FULL_BUCKET: 6,
  ELSEWHERE: 7,
  MODE: 8,
  CHOICE: 9,
} as const;

/** A message on a post's channel that begins with it is about milestones; counts begin with a bracket. */
export const NEWS_PREFIX = 'm';
/** Numbers of a milestone in a message: metric, n, version, time of the batch. */
const NEWS_NUMBERS = 4;

export function decodeArmReply(packed: Buffer): ArmResult {
  const values = new MsgpackReader(packed);
  const kind = values.readInteger();
  switch (kind) {
    case ARM_REPLIES.PASSED:
      return { kind: 'passed', total: values.readInteger() };
    case ARM_REPLIES.REACHED:
      return { kind: 'reached' };
    case ARM_REPLIES.FULL_ARMED:
      return { kind: 'full', of: 'armed', max: ARMED_MAX };
    case ARM_REPLIES.FULL_MILESTONES:
      return { kind: 'full', of: 'milestones', max: MILESTONES_MAX };
    case ARM_REPLIES.FULL_BUCKET:
      return { kind: 'full', of: 'bucket', max: ARMED_PER_BUCKET_MAX };
    case ARM_REPLIES.ELSEWHERE:
      return { kind: 'elsewhere', home: values.readText() };
    case ARM_REPLIES.CHOICE:
      return { kind: 'choice', home: values.readText() };
    case ARM_REPLIES.MODE:
      return { kind: 'mode', mode: modeAt(values.readInteger()) };
  }
  const armed: number[] = [];
  while (!values.isDone) armed.push(values.readInteger());
  return { kind: 'armed', isNew: kind === ARM_REPLIES.ARMED, armed };
}

/**
 * Decodes a reply of scripts/read-milestones-1.lua. A record of this region is final by the clock of the server that replies.
 * @param region of this store; records that it has decided do not name it
 */
export function decodeMilestones(packed: Buffer, region: string): MilestonesView {
  const values = new MsgpackReader(packed);
  const finalUpToMs = values.readInteger() - MILESTONE_FINAL_MS;
  const armed: number[] = [];
  for (let left = values.readInteger(); left > 0; left--) armed.push(values.readInteger());
  const about = { region: values.readText(), number: values.readInteger(), mode: modeAt(values.readInteger()) };
  const home = about.region === '' ? null : about;
  const waitingFor: string[] = [];
  for (let left = values.readInteger(); left > 0; left--) waitingFor.push(values.readText());
  const reached: ReadMilestone[] = [];
  while (!values.isDone) {
    const record = readRecord(values, region);
    const isOld = record.region === region && record.recordedAtMs <= finalUpToMs;
    reached.push({ ...record, final: record.isFinal === true || isOld });
  }
  return { armed, reached: reached.sort((a, b) => a.n - b.n), home, waitingFor };
}

/**
 * Reads a record.
 * @param region of the store; records that it has decided do not name it
 */
export function readRecord(values: MsgpackReader, region: string): ReachedMilestone {
  const n = values.readInteger();
  const [actor, session] = [readKey(values), readKey(values)];
  const seq = values.readInteger();
  const kind = KINDS[values.readInteger()];
  if (kind === undefined) throw new RangeError('a record of a milestone has an unknown kind of operation');
  const [value, total, v] = [values.readInteger(), values.readInteger(), values.readInteger()];
  const [epoch, atMs, recordedAtMs] = [values.readInteger(), values.readInteger(), values.readInteger()];
  const missed = values.readInteger() === 1;
  const decidedBy = values.readText();
  const isFinal = values.readInteger() === 1;
  const times = { atMs, recordedAtMs, missed, ...(isFinal && { isFinal }) };
  return {
    n,
    actor,
    session,
    seq,
    kind,
    value,
    total,
    v,
    region: decidedBy === '' ? region : decidedBy,
    epoch,
    ...times,
  };
}

/** Decodes a reply of scripts/read-milestone-records-1.lua. */
export function decodePostMilestones(packed: Buffer, region: string): PostMilestone[] {
  const values = new MsgpackReader(packed);
  const milestones: PostMilestone[] = [];
  while (!values.isDone) {
    milestones.push({ post: values.readText(), metric: values.readInteger(), ...readRecord(values, region) });
  }
  return milestones;
}

function readKey(values: MsgpackReader): ReachedMilestone['actor'] {
  const decimal = values.readText();
  return decimal === '' ? null : parseDecimalKey(decimal);
}

/**
 * Decodes a message that begins with NEWS_PREFIX.
 * @throws Error when the message is not one that a gateway publishes
 */
export function decodeMilestoneNews(post: string, message: string, metrics: Metrics): MilestoneNews[] {
  const numbers: unknown = JSON.parse(message.slice(NEWS_PREFIX.length));
  if (!Array.isArray(numbers) || numbers.length % NEWS_NUMBERS > 0 || !numbers.every(isCount)) {
    throw new Error(`milestones are ${NEWS_NUMBERS} whole numbers from 0 to 2^53 - 1 each`);
  }
  const news: MilestoneNews[] = [];
  for (let i = 0; i < numbers.length; i += NEWS_NUMBERS) {
    const [metric, n, v, atMs] = (numbers as number[]).slice(i, i + NEWS_NUMBERS) as [number, number, number, number];
    // A gateway that was started after a metric was added knows more of them.
    if (metric < metrics.list.length) news.push({ post, metric, n, v, atMs });
  }
  return news;
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
