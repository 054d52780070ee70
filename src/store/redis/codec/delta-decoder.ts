import type { Life } from '../../../counters/pn-counter.js';
import type { EntryShipment, PostShipment, Register, Shipment } from '../../../counters/replication/delta.js';
import type { BucketStanding } from '../../replicated-store.js';
import { MsgpackReader } from './msgpack-reader.js';
import { PostRecord } from './redis-post-record.js';
import { keyOf } from './decimal-key.js';

/** What scripts/collect-changes-n.lua says of changes that are not known any more. */
const FORGOTTEN = 0;

/** How a bucket stands, with what a shipment of it says. */
export interface Standing extends BucketStanding {
  readonly born: number;
  readonly goesOn: readonly Life[];
  readonly confirmed: number;
  readonly floor: number;
}

/** Of scripts/stand-buckets-n.lua. */
export function standingOf(answer: Buffer): Standing {
  const values = new MsgpackReader(answer);
  const [epoch, nonce] = [values.integer(), values.integer()];
  const [clock, born, found] = [values.integer(), values.integer(), values.integer()];
  const [confirmed, floor] = [values.integer(), values.integer()];
  const filling = values.integer() === 1;
  const told = values.text();
  const toldBy = told === '' ? [] : told.split(',');
  return { epoch, nonce, clock, born, goesOn: livesIn(values), found, confirmed, floor, filling, toldBy };
}

function livesIn(values: MsgpackReader): Life[] {
  return Array.from({ length: values.integer() }, () => ({ epoch: values.integer(), nonce: values.integer() }));
}

/** A part of a scan that says nothing yet. */
export function emptyScan(region: string, bucket: number, standing: Standing): Shipment {
  const { epoch, nonce, born, goesOn, confirmed, floor } = standing;
  const source = { region, epoch, nonce };
  return { kind: 'scan', bucket, source, born, goesOn, after: 0, upTo: 0, confirmed, floor, posts: [], shown: null };
}

/** Of scripts/collect-changes-n.lua; `null`: it has to be scanned for. */
export function changesOf(answer: Buffer, region: string, bucket: number, after: number): Shipment | null {
  const values = new MsgpackReader(answer);
  if (values.integer() === FORGOTTEN) return null;
  const source = { region, epoch: values.integer(), nonce: values.integer() };
  const [born, confirmed, floor] = [values.integer(), values.integer(), values.integer()];
  const upTo = values.integer();
  const goesOn = livesIn(values);
  const posts = Array.from({ length: values.integer() }, (): PostShipment & { registers: Register[] } => {
    const post = values.text();
    const counted = values.integer() === 1;
    const bytes = Buffer.from(values.string());
    const record = bytes.length === 0 ? null : new PostRecord(bytes);
    const entries: EntryShipment[] = counted && record !== null ? record.ownEntries(source) : [];
    return { post, updatedAtMs: record?.updatedAtMs ?? 0, entries, registers: [], members: [] };
  });
  for (let left = values.integer(); left > 0; left--) {
    const place = values.integer();
    const metric = values.integer();
    const actor = keyOf(values.text());
    posts[place]!.registers.push({ metric, actor, stamp: values.integer(), on: values.integer() === 1 });
  }
  return { kind: 'changes', bucket, source, born, goesOn, after, upTo, confirmed, floor, posts, shown: null };
}
