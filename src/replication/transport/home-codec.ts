import { REGION_PATTERN } from '../../config/peer-urls.js';
import type { Key64 } from '../../counters/ids.js';
import { METRICS_MAX } from '../../counters/metrics.js';
import type { HomeConfirmation, HomeMode, MilestoneHome, ReachedMilestone } from '../../counters/milestones.js';
import type { HomeDelta } from '../../counters/replication/delta.js';
import { readAge, TIME_MAX, type WireReader, type WireWriter, writeAge } from './wire-format.js';

/**
 * Homes of milestones in a delta's post. Numbers are LEB128 unless a width is given. A list begins with its length.
 *
 *     home of a metric    metric + 16 if there is a home (a byte) · home · confirmation[] · record[]
 *       home                mode (a byte) · region (length, ASCII) · number
 *       confirmation        incarnation: region, epoch, nonce · home · stamp (age)
 *       record              kind + 4 if actor + 8 if session + 16 if missed + 32 if final (a byte) · actor, session (8 bytes each)
 *                           · n, seq, value, total, v · region, epoch · atMs, recordedAtMs
 *
 * Incarnations are written out, because those of confirmations may be over, and a message has room for a bounded number of incarnations.
 */
const MODES = ['order', 'strict', 'released'] as const satisfies readonly HomeMode[];
const KINDS = ['add', 'set', 'adjust', 'visit'] as const satisfies readonly ReachedMilestone['kind'][];
const HAS_HOME = METRICS_MAX;
const HAS_ACTOR = 4;
const HAS_SESSION = 8;
const IS_MISSED = 16;
const IS_FINAL = 32;

/** Least length of an item of each list. */
const HOME_BYTES = 3;
const CONFIRMATION_BYTES = 9;
const RECORD_BYTES = 12;

export function writeHomes(writer: WireWriter, homes: readonly HomeDelta[], latestStamp: number): void {
  writer.varint(homes.length);
  for (const { metric, home, confirmations, reached } of homes) {
    writer.byte(metric + (home === null ? 0 : HAS_HOME));
    if (home !== null) writeHome(writer, home);
    writer.varint(confirmations.length);
    for (const one of confirmations) writeConfirmation(writer, one, latestStamp);
    writer.varint(reached.length);
    for (const one of reached) writeRecord(writer, one);
  }
}

export function readHomes(reader: WireReader, latestStamp: number): HomeDelta[] {
  return reader.list('homes', HOME_BYTES, (): HomeDelta => {
    const head = reader.byte('metric of a home', HAS_HOME + METRICS_MAX - 1);
    const home = head < HAS_HOME ? null : readHome(reader);
    const confirmations = reader.list('confirmations', CONFIRMATION_BYTES, () => readConfirmation(reader, latestStamp));
    const reached = reader.list('records', RECORD_BYTES, () => readRecord(reader));
    return { metric: head % METRICS_MAX, home, confirmations, reached };
  });
}

function writeHome(writer: WireWriter, { region, number, mode }: MilestoneHome): void {
  writer.byte(MODES.indexOf(mode));
  writer.text(region);
  writer.varint(number);
}

function readHome(reader: WireReader): MilestoneHome {
  const mode = MODES[reader.byte('mode of a home', MODES.length - 1)]!;
  return { region: reader.text('region of a home', REGION_PATTERN), number: reader.varint('number of a home'), mode };
}

function writeConfirmation(writer: WireWriter, one: HomeConfirmation, latestStamp: number): void {
  writer.text(one.region);
  writer.incarnation(one);
  writeHome(writer, one.home);
  writeAge(writer, one.stamp, latestStamp);
}

function readConfirmation(reader: WireReader, latestStamp: number): HomeConfirmation {
  const region = reader.text('region of a confirmation', REGION_PATTERN);
  const incarnation = reader.incarnation('confirmation');
  const home = readHome(reader);
  return { region, ...incarnation, home, stamp: readAge(reader, 'stamp of a confirmation', latestStamp) };
}

function writeRecord(writer: WireWriter, record: ReachedMilestone): void {
  const { actor, session, kind, missed, isFinal, n, seq, value, total, v, region, epoch, atMs, recordedAtMs } = record;
  const has = (actor === null ? 0 : HAS_ACTOR) + (session === null ? 0 : HAS_SESSION);
  const flags = (missed ? IS_MISSED : 0) + (isFinal === true ? IS_FINAL : 0);
  writer.byte(KINDS.indexOf(kind) + has + flags);
  if (actor !== null) writer.key(actor);
  if (session !== null) writer.key(session);
  for (const number of [n, seq, value, total, v]) writer.varint(number);
  writer.text(region);
  for (const number of [epoch, atMs, recordedAtMs]) writer.varint(number);
}

function readRecord(reader: WireReader): ReachedMilestone {
  const head = reader.byte('kind of a record', 2 * IS_FINAL - 1);
  const key = (flag: number, field: string): Key64 | null => ((head & flag) === 0 ? null : reader.key(field));
  return {
    kind: KINDS[head % KINDS.length]!,
    actor: key(HAS_ACTOR, 'actor of a record'),
    session: key(HAS_SESSION, 'session of a record'),
    n: reader.varint('n of a record'),
    seq: reader.varint('seq of a record'),
    value: reader.varint('value of a record'),
    total: reader.varint('total of a record'),
    v: reader.varint('v of a record'),
    region: reader.text('region of a record', REGION_PATTERN),
    epoch: reader.varint('epoch of a record'),
    atMs: reader.varint('time of a record', TIME_MAX),
    recordedAtMs: reader.varint('time of writing of a record', TIME_MAX),
    missed: (head & IS_MISSED) > 0,
    ...((head & IS_FINAL) > 0 && { isFinal: true }),
  };
}
