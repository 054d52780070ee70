import type { Clock } from '../../../common/clock.js';
import { sleep } from '../../../common/sleep.js';
import type { PostCounts } from '../../../counters/batch.js';
import { epochOf } from '../../../counters/bucket.js';
import {
  type EntryShipment,
  partOf,
  type PostShipment,
  type Receipt,
  type Shipment,
  type Toggled,
} from '../../../counters/replication/delta.js';
import { MsgpackReader } from '../codec/msgpack-reader.js';
import type { BucketReader, StampedMembers } from './bucket-reader.js';
import type { CallCoalescer } from '../scripts/call-coalescer.js';
import { type ShipmentPart, DeltaEncoder, type ToldToggle } from '../codec/delta-encoder.js';

/** Entries and toggles that one call merges: about a millisecond of the server's time. */
export const CALL_THINGS_MAX = 250;
/** A part whose outcome is not known is merged again, which does no harm; so often, and then the peer sends all again. */
const ATTEMPTS = 5;
const PAUSE_MS = 100;

export interface MergesOptions {
  readonly region: string;
  readonly metrics: number;
  readonly clock: Clock;
  readonly keyOf: (bucket: number) => string;
}

export interface MergesEvents {
  changed(counts: readonly PostCounts[]): void;
  toggled(toggles: readonly Toggled[]): void;
  /** Something of the bucket is due to be announced in this many ms. */
  due(bucket: number, dueInMs: number): void;
}

interface Told {
  readonly entries: (EntryShipment & { readonly post: string })[];
  readonly toggles: ToldToggle[];
}

interface Answer {
  readonly receipt: Receipt;
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
    private readonly events: MergesEvents,
  ) {}

  async merge(shipment: Shipment): Promise<Receipt> {
    const told = toldIn(shipment);
    if (shipment.posts.some(({ members }) => members.length > 0)) {
      // First the clock sees their floor: what is toggled from now on, while members are read, is later.
      const { receipt, floor } = await this.#ask({ shipment, entries: [], toggles: [], isLast: false });
      if (receipt.refused) return receipt;
      if (shipment.floor > (shipment.kind === 'quiet' ? shipment.after - 1 : floor)) {
        for (const toggle of await this.#differing(shipment)) told.get(toggle.post)!.toggles.push(toggle);
      }
    }
    const parts = inParts(told.values());
    for (const [i, part] of parts.entries()) {
      const isLast = i === parts.length - 1;
      const { receipt } = await this.#ask({ shipment, ...part, isLast });
      if (isLast || receipt.refused) return receipt;
    }
    throw new Error('a shipment has at least one part');
  }

  /** Whose toggles are not here as they are among the members of the shipment. */
  async #differing(shipment: Shipment): Promise<ToldToggle[]> {
    const { bucket, posts } = shipment;
    const key = this.options.keyOf(bucket);
    const told = posts.filter(({ members }) => members.length > 0);
    const names = [...new Set(told.map(({ post }) => post))];
    const here = await this.reads.members(key, async () => (await this.reads.posts(key, names)).records);
    return told.flatMap((post) => (shipment.kind === 'quiet' ? missingOf : differingOf)(post, here, shipment));
  }

  async #ask(part: ShipmentPart): Promise<Answer> {
    const { bucket } = part.shipment;
    const { posts, packed } = this.#packer.pack(part);
    for (let attempt = 1; ; attempt++) {
      try {
        const things = part.entries.length + part.toggles.length;
        return this.#answered(part, posts, await this.calls.ask(bucket, packed, things));
      } catch (error) {
        if (attempt === ATTEMPTS) throw error;
      }
      await sleep(this.options.clock, PAUSE_MS);
    }
  }

  #answered({ shipment, toggles }: ShipmentPart, posts: readonly string[], packed: Buffer): Answer {
    const { bucket } = shipment;
    const values = new MsgpackReader(packed);
    const refused = values.integer() === 1;
    const known = { epoch: values.integer(), nonce: values.integer(), upTo: values.integer() };
    const receiver = { epoch: values.integer(), nonce: values.integer() };
    const receipt = {
      bucket,
      ...known,
      refused,
      receiver,
      filling: values.integer() === 1,
      told: values.integer() === 1,
    };
    const floor = values.integer();
    if (refused) return { receipt, floor };
    const due = values.integer();
    if (due > 0) this.events.due(bucket, due - 1);
    const e = epochOf({ region: this.options.region, ...receiver });
    const changed = listOf(values.integer(), (): PostCounts => {
      const post = posts[values.integer() - 1]!;
      const [v, updatedAtMs, live] = [values.integer(), values.integer(), values.integer()];
      return { post, e, v, updatedAtMs, live, totals: listOf(this.options.metrics, () => values.integer()) };
    });
    const toggled = listOf(values.integer(), (): Toggled => {
      const { post, metric, actor } = toggles[values.integer() - 1]!;
      return { post, metric, actor, on: values.integer() === 1 };
    });
    if (changed.length > 0) this.events.changed(changed);
    if (toggled.length > 0) this.events.toggled(toggled);
    return { receipt, floor };
  }
}

/** What a shipment says of its posts, in their order. */
function toldIn({ posts }: Shipment): Map<string, Told> {
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
  const room = (): number => CALL_THINGS_MAX - parts.at(-1)!.entries.length - parts.at(-1)!.toggles.length;
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

type Differing = (post: PostShipment, here: StampedMembers, of: Shipment) => ToldToggle[];

const missingOf: Differing = ({ post, members }, here, { after: stamp }) => {
  return members.flatMap(({ metric, actors }) => {
    const isHere = new Set((here.get(`${post} ${metric}`) ?? []).map(({ actor }) => textOf(actor)));
    const missing = actors.filter((actor) => !isHere.has(textOf(actor)));
    return missing.map((actor) => ({ post, metric, actor, stamp, on: true, known: 'of quiet members' }));
  });
};

const differingOf: Differing = ({ post, members, registers }, here, { floor }) => {
  const found: ToldToggle[] = [];
  for (const { metric, part, parts, actors } of members) {
    const own = here.get(`${post} ${metric}`) ?? [];
    const isHere = new Set(own.map(({ actor }) => textOf(actor)));
    const told = new Set(actors.map(textOf));
    for (const register of registers) if (register.metric === metric) told.add(textOf(register.actor));
    const about = { post, metric, stamp: floor, known: 'of members' } as const;
    for (const { actor, stamp } of own) {
      if (partOf(actor, parts) !== part || stamp >= floor || told.has(textOf(actor))) continue;
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
