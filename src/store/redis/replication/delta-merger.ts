import type { Clock } from '../../../common/clock.js';
import { sleep } from '../../../common/sleep.js';
import type { PostCounts } from '../../../counters/batch.js';
import { formatEpoch } from '../../../counters/bucket.js';
import {
  type EntryDelta,
  subsetOf,
  type PostDelta,
  type DeltaAck,
  type Delta,
  type RemoteToggle,
} from '../../../counters/replication/delta.js';
import { MsgpackReader } from '../codec/msgpack-reader.js';
import type { BucketReader, StampedMembers } from './bucket-reader.js';
import type { CallCoalescer } from '../scripts/call-coalescer.js';
import { type DeltaFragment, DeltaEncoder, type IncomingToggle } from '../codec/delta-encoder.js';

/** Entries and toggles that one call merges: about a millisecond of the server's time. */
export const CALL_CHANGES_MAX = 250;
/** A part whose outcome is not known is merged again, which does no harm; so often, and then the peer sends all again. */
const ATTEMPTS = 5;
const PAUSE_MS = 100;

export interface MergesOptions {
  readonly region: string;
  readonly metrics: number;
  readonly clock: Clock;
  readonly keyOf: (bucket: number) => string;
}

export interface DeltaMergerEvents {
  changed(counts: readonly PostCounts[]): void;
  toggled(toggles: readonly RemoteToggle[]): void;
  /** Something of the bucket is due to be announced in this many ms. */
  publishDue(bucket: number, dueInMs: number): void;
}

interface Told {
  readonly entries: (EntryDelta & { readonly post: string })[];
  readonly toggles: IncomingToggle[];
}

interface Answer {
  readonly receipt: DeltaAck;
  /** The own floor. */
  readonly floor: number;
}

/** Merges shipments, in parts where they are large: what was merged already stays, but only the last part moves the receipt. */
export class DeltaMerger {
  readonly #packer = new DeltaEncoder();

  constructor(
    private readonly calls: CallCoalescer,
    private readonly reads: BucketReader,
    private readonly options: MergesOptions,
    private readonly events: DeltaMergerEvents,
  ) {}

  async merge(shipment: Delta): Promise<DeltaAck> {
    const told = toldIn(shipment);
    if (shipment.posts.some(({ members }) => members.length > 0)) {
      // First the clock sees their floor: what is toggled from now on, while members are read, is later.
      const { receipt, floor } = await this.#ask({ delta: shipment, entries: [], toggles: [], isLast: false });
      if (receipt.incarnationRejected) return receipt;
      if (shipment.stableStamp > (shipment.kind === 'repair' ? shipment.after - 1 : floor)) {
        for (const toggle of await this.#differing(shipment)) told.get(toggle.post)!.toggles.push(toggle);
      }
    }
    const parts = inParts(told.values());
    for (const [i, part] of parts.entries()) {
      const isLast = i === parts.length - 1;
      const { receipt } = await this.#ask({ delta: shipment, ...part, isLast });
      if (isLast || receipt.incarnationRejected) return receipt;
    }
    throw new Error('a shipment has at least one part');
  }

  /** Whose toggles are not here as they are among the members of the shipment. */
  async #differing(shipment: Delta): Promise<IncomingToggle[]> {
    const { bucket, posts } = shipment;
    const key = this.options.keyOf(bucket);
    const told = posts.filter(({ members }) => members.length > 0);
    const names = [...new Set(told.map(({ post }) => post))];
    const here = await this.reads.readMembers(key, async () => (await this.reads.readPosts(key, names)).records);
    return told.flatMap((post) => (shipment.kind === 'repair' ? missingOf : differingOf)(post, here, shipment));
  }

  async #ask(part: DeltaFragment): Promise<Answer> {
    const { bucket } = part.delta;
    const { posts, packed } = this.#packer.encode(part);
    for (let attempt = 1; ; attempt++) {
      try {
        const things = part.entries.length + part.toggles.length;
        return this.#answered(part, posts, await this.calls.enqueue(bucket, packed, things));
      } catch (error) {
        if (attempt === ATTEMPTS) throw error;
      }
      await sleep(this.options.clock, PAUSE_MS);
    }
  }

  #answered({ delta: shipment, toggles }: DeltaFragment, posts: readonly string[], packed: Buffer): Answer {
    const { bucket } = shipment;
    const values = new MsgpackReader(packed);
    const incarnationRejected = values.readInteger() === 1;
    const known = { epoch: values.readInteger(), nonce: values.readInteger(), upTo: values.readInteger() };
    const receiver = { epoch: values.readInteger(), nonce: values.readInteger() };
    const receipt = {
      bucket,
      ...known,
      incarnationRejected,
      receiver,
      backfilling: values.readInteger() === 1,
      fullySynced: values.readInteger() === 1,
    };
    const floor = values.readInteger();
    if (incarnationRejected) return { receipt, floor };
    const due = values.readInteger();
    if (due > 0) this.events.publishDue(bucket, due - 1);
    const e = formatEpoch({ region: this.options.region, ...receiver });
    const changed = listOf(values.readInteger(), (): PostCounts => {
      const post = posts[values.readInteger() - 1]!;
      const [v, updatedAtMs, live] = [values.readInteger(), values.readInteger(), values.readInteger()];
      return { post, e, v, updatedAtMs, live, totals: listOf(this.options.metrics, () => values.readInteger()) };
    });
    const toggled = listOf(values.readInteger(), (): RemoteToggle => {
      const { post, metric, actor } = toggles[values.readInteger() - 1]!;
      return { post, metric, actor, on: values.readInteger() === 1 };
    });
    if (changed.length > 0) this.events.changed(changed);
    if (toggled.length > 0) this.events.toggled(toggled);
    return { receipt, floor };
  }
}

/** What a shipment says of its posts, in their order. */
function toldIn({ posts }: Delta): Map<string, Told> {
  const told = new Map<string, Told>();
  for (const { post, entries, registers } of posts) {
    const of = told.get(post) ?? { entries: [], toggles: [] };
    told.set(post, of);
    for (const entry of entries) of.entries.push({ ...entry, post });
    for (const register of registers) of.toggles.push({ ...register, post, known: 'of a register' });
  }
  return told;
}

/** What one call merges each, at least one; a post is in several parts only where it is too much for one. */
function inParts(posts: Iterable<Told>): Told[] {
  const parts: Told[] = [{ entries: [], toggles: [] }];
  const room = (): number => CALL_CHANGES_MAX - parts.at(-1)!.entries.length - parts.at(-1)!.toggles.length;
  for (const { entries, toggles } of posts) {
    if (entries.length + toggles.length > room()) parts.push({ entries: [], toggles: [] });
    parts.at(-1)!.entries.push(...entries);
    for (const toggle of toggles) {
      if (room() <= 0) parts.push({ entries: [], toggles: [] });
      parts.at(-1)!.toggles.push(toggle);
    }
  }
  return parts;
}

type Differing = (post: PostDelta, here: StampedMembers, of: Delta) => IncomingToggle[];

const missingOf: Differing = ({ post, members }, here, { after: stamp }) => {
  return members.flatMap(({ metric, actors }) => {
    const isHere = new Set((here.get(`${post} ${metric}`) ?? []).map(({ actor }) => textOf(actor)));
    const missing = actors.filter((actor) => !isHere.has(textOf(actor)));
    return missing.map((actor) => ({ post, metric, actor, stamp, on: true, known: 'of quiet members' }));
  });
};

const differingOf: Differing = ({ post, members, registers }, here, { stableStamp: floor }) => {
  const found: IncomingToggle[] = [];
  for (const { metric, subset: part, subsets: parts, actors } of members) {
    const own = here.get(`${post} ${metric}`) ?? [];
    const isHere = new Set(own.map(({ actor }) => textOf(actor)));
    const told = new Set(actors.map(textOf));
    for (const register of registers) if (register.metric === metric) told.add(textOf(register.actor));
    const about = { post, metric, stamp: floor, known: 'of members' } as const;
    for (const { actor, stamp } of own) {
      if (subsetOf(actor, parts) !== part || stamp >= floor || told.has(textOf(actor))) continue;
      found.push({ ...about, actor, on: false });
    }
    for (const actor of actors) if (!isHere.has(textOf(actor))) found.push({ ...about, actor, on: true });
  }
  return found;
};

function textOf({ hi, lo }: { readonly hi: number; readonly lo: number }): string {
  return `${hi}:${lo}`;
}

function listOf<T>(length: number, make: () => T): T[] {
  return Array.from({ length }, make);
}
