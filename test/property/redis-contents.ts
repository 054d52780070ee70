import type { Redis } from 'ioredis';
import { COUNT_MAX } from '../../src/counters/pn-counter.js';
import type { CounterStore } from '../../src/store/counter-store.js';
import type { History } from './histories.js';
import { chunkOf, hashOfKey, hashOfPost, isFair, SET_PACKED } from './redis-chunks.js';
import { checkMarks, type MarkState, markStateOf } from './redis-marks.js';
import { findToggleLogFaults } from './redis-toggle-log.js';

/** Fields of a metric in a record. */
const [MEMBERS, MORE_CHUNKS, P, N] = [0, 1, 2, 3] as const;
const FIELDS = 4;
/** Tags below it are of the own region; those of other incarnations are above. */
const TAGS = 64;
const SCAN_COUNT = 1_000;

/** The fields of the state that are checked, from the bucket's hash: docs/redis-keys.md. */
interface State {
  readonly posts: number;
  readonly postChunks: number;
  readonly sessions: MarkState;
  readonly visits: MarkState;
}

/** Everything that a bucket has in Redis. */
interface Bucket {
  readonly state: State;
  /** Entries of the chunks of posts, then of marks by generation, then of members by metric and post. */
  readonly posts: Map<number, Map<string, Buffer>>;
  readonly sessions: Map<number, Map<number, string[]>>;
  readonly visits: Map<number, Map<number, string[]>>;
  readonly members: Map<string, Map<number, string[]>>;
  /** How many incarnations of other regions have a slot; and entries of the change feed. */
  readonly incarnations: number;
  readonly marked: string[];
}

interface PostRecord {
  readonly updatedAtMs: number;
  readonly v: number;
  readonly fields: ReadonlyMap<number, number>;
}

/**
 * Checks the contents of Redis. @returns a line for each fault: an unknown key, an entry in a chunk where no reader looks for it, a wrong number,
 * or a post that differs from the reference
 */
export async function findFaults(
  client: Redis,
  history: History,
  reference: CounterStore,
  /** Whether there are other regions; then versions may be higher, because large deltas are merged in several steps. */
  regional = false,
): Promise<string[]> {
  const faults: string[] = [];
  const buckets = await dump(client, history, regional, faults);
  const views = await reference.read(history.allPosts, null);
  const countsOf = new Map(views.map(({ counts }) => [counts.post, counts]));
  const metrics = history.shape.metrics.list;
  for (const [number, bucket] of buckets.entries()) {
    const fault = (message: string): void => void faults.push(`bucket ${number}: ${message}`);
    checkMarks('sessions', bucket.state.sessions, bucket.sessions, fault);
    checkMarks('visits', bucket.state.visits, bucket.visits, fault);
    const records = checkPosts(bucket, fault);
    checkEntries(records, bucket.incarnations, fault);
    for (const mark of bucket.marked) checkMark(mark, history, fault);
    if (regional) faults.push(...(await findToggleLogFaults(client, `tc:{${number}}`, isToggleOf(history), CHUNKS)));
    const found = new Set<string>();
    for (const [post, record] of records) {
      const expected = countsOf.get(post);
      const totals = metrics.map(({ index }) => {
        const valueOf = (field: number): number => record.fields.get(FIELDS * index + field) ?? 0;
        const set = `${index} ${post}`;
        found.add(set);
        checkMembers(set, bucket.members.get(set), valueOf(MEMBERS), valueOf(MORE_CHUNKS) + 1, fault);
        const anonymous = [...record.fields].reduce((sum, [tag, value]) => {
          const field = (tag % TAGS) - FIELDS * index;
          return sum + (field === P ? value : field === N ? -value : 0);
        }, 0);
        return Math.min(Math.max(valueOf(MEMBERS) + anonymous, 0), COUNT_MAX);
      });
      const v = regional ? Math.min(record.v, expected?.v ?? 0) : record.v;
      const { updatedAtMs } = record;
      const { v: expectedV, updatedAtMs: expectedAtMs, totals: expectedTotals } = expected ?? {};
      const [actual, wanted] = [JSON.stringify([v, updatedAtMs, totals]), [expectedV, expectedAtMs, expectedTotals]];
      if (actual !== JSON.stringify(wanted)) fault(`${post} is ${actual} instead of ${JSON.stringify(wanted)}`);
    }
    for (const set of bucket.members.keys()) if (!found.has(set)) fault(`members of ${set}, which has no record`);
    const known = history.posts[number]!.filter((post) => countsOf.get(post)!.v > 0).length;
    if (known !== records.size) fault(`${records.size} posts instead of ${known}`);
  }
  return faults;
}

async function dump(client: Redis, { shape }: History, regional: boolean, faults: string[]): Promise<Bucket[]> {
  const buckets = await Promise.all(
    Array.from({ length: shape.buckets }, async (_, number): Promise<Bucket> => {
      const fields = await client.hgetallBuffer(`tc:{${number}}`);
      return {
        state: stateOf(fields),
        incarnations: countIncarnations(fields['incarnations']),
        marked: [],
        posts: new Map(),
        sessions: new Map(),
        visits: new Map(),
        members: new Map(),
      };
    }),
  );
  const other =
    /^tc:config$|^tc:\{\d+\}(:(producers(:previous)?|log_positions|publish_after|publish_due|changed_posts|milestones|milestone_records|provisional_milestones|homes|unsettled_homes|forward_marks:\d+|gateways|viewers(:[\w-]+)?))?$/;
  const forRegions = /^tc:\{\d+\}:(local_log|remote_log|registers:\d+)$/;
  let cursor = '0';
  do {
    const [next, keys] = await client.scan(cursor, 'COUNT', SCAN_COUNT);
    cursor = next;
    await Promise.all(
      keys.map(async (key) => {
        const [, number, posts, kind, generation, marks, metric, post, members] =
          /^tc:\{(\d+)\}:(?:posts:(\d+)|(marks|visit_marks):(\d+):(\d+)|members:(\d+):(.+):(\d+))$/.exec(key) ?? [];
        const [, marked] = /^tc:\{(\d+)\}:changes$/.exec(key) ?? [];
        if (marked !== undefined && regional) {
          buckets[Number(marked)]!.marked.push(...(await client.zrangebyscore(key, '-inf', '+inf')));
          return;
        }
        if (regional && forRegions.test(key)) return;
        const bucket = buckets[Number(number)];
        if (bucket === undefined) {
          if (!other.test(key)) faults.push(`${key} is unknown`);
        } else if (posts !== undefined) bucket.posts.set(Number(posts), await entriesOf(client, key));
        else if (marks !== undefined) {
          const byGeneration = kind === 'marks' ? bucket.sessions : bucket.visits;
          put(byGeneration, Number(generation), Number(marks), await client.hkeys(key));
        } else put(bucket.members, `${metric!} ${post!}`, Number(members), await client.smembers(key));
      }),
    );
  } while (cursor !== '0');
  return buckets;
}

function stateOf(fields: Readonly<Record<string, Buffer>>): State {
  const { sizes: packed, visit_marks: packedVisits } = fields;
  const numbers = packed === undefined ? [0, 1, 1, 0, 0, 1, 0, 0] : numbersOf(packed, 0);
  const visits = packedVisits === undefined ? [1, 0, 0, 1, 0] : numbersOf(packedVisits, 0);
  return {
    posts: numbers[0]!,
    postChunks: numbers[1]!,
    sessions: markStateOf(fields, '', numbers.slice(2)),
    visits: markStateOf(fields, 'visit_', visits),
  };
}

function put<K>(map: Map<K, Map<number, string[]>>, key: K, chunk: number, entries: string[]): void {
  const chunks = map.get(key) ?? new Map<number, string[]>();
  map.set(key, chunks.set(chunk, entries));
}

async function entriesOf(client: Redis, key: string): Promise<Map<string, Buffer>> {
  const records = await client.hgetallBuffer(key);
  return new Map(Object.entries(records));
}

function checkPosts({ state, posts }: Bucket, fault: (message: string) => void): Map<string, PostRecord> {
  const records = new Map<string, PostRecord>();
  const { posts: expected, postChunks: chunks } = state;
  for (const [chunk, entries] of posts) {
    for (const [post, record] of entries) {
      if (chunkOf(hashOfPost(post), chunks) !== chunk) fault(`${post} stands in chunk ${chunk} of ${chunks}`);
      records.set(post, recordOf(record));
    }
  }
  if (expected !== records.size) fault(`has ${records.size} posts instead of ${expected}`);
  if (!isFair(expected, chunks)) fault(`${chunks} chunks for ${expected} posts`);
  return records;
}

/** Each entry of another region has a known incarnation, and a P. */
function checkEntries(records: Map<string, PostRecord>, incarnations: number, fault: (message: string) => void): void {
  for (const [post, { fields }] of records) {
    for (const tag of fields.keys()) {
      if (tag < TAGS) continue;
      if (Math.floor(tag / TAGS) > incarnations)
        fault(`${post} has a field ${tag}, and there are ${incarnations} incarnations`);
      if (tag % FIELDS === N ? !fields.has(tag - 1) : tag % FIELDS !== P) fault(`${post} has a field ${tag} and no P`);
    }
  }
}

/** An entry of the feed is a post, or a toggle of an actor. */
function checkMark(mark: string, history: History, fault: (message: string) => void): void {
  const [post, metric, actor] = mark.split(' ');
  const isKnown = metric === undefined ? history.allPosts.includes(post!) : isToggleOf(history)(`${post!} ${metric}`);
  if (!isKnown || (metric === undefined) !== (actor === undefined)) fault(`a mark ${mark}`);
}

function isToggleOf({ allPosts, shape }: History): (set: string) => boolean {
  return (set) => {
    const [post, metric] = set.split(' ');
    return allPosts.includes(post!) && shape.metrics.list[Number(metric)]?.kind.hasMembers === true;
  };
}

/** Counts the regions' names in the list; each has an epoch and a nonce. */
function countIncarnations(packed: Buffer | undefined): number {
  return packed === undefined ? 0 : [...packed.toString('latin1').matchAll(/[\xa1-\xaf][a-z]/g)].length;
}

function checkMembers(
  set: string,
  found: ReadonlyMap<number, readonly string[]> = new Map(),
  members: number,
  chunks: number,
  fault: (message: string) => void,
): void {
  if (chunks < Math.ceil(members / SET_PACKED)) fault(`${set}: ${chunks} chunks for ${members} members`);
  let sum = 0;
  for (const [chunk, actors] of found) {
    sum += actors.length;
    for (const actor of actors)
      if (chunkOf(hashOfKey(actor), chunks) !== chunk) fault(`${set}: ${actor} stands in chunk ${chunk} of ${chunks}`);
  }
  if (sum !== members) fault(`${set}: ${sum} members instead of ${members}`);
}

const CHUNKS = { chunkOf, hashOfToggle: hashOfPost };

/** Milliseconds since 2024 in 5 bytes, then msgpack integers. */
function recordOf(record: Buffer): PostRecord {
  const [v, ...tagged] = numbersOf(record, 5);
  const fields = new Map<number, number>();
  for (let i = 0; i < tagged.length; i += 2) fields.set(tagged[i]!, tagged[i + 1]!);
  return { updatedAtMs: Date.UTC(2024, 0, 1) + record.readUIntBE(0, 5), v: v!, fields };
}

/** Decodes msgpack's unsigned integers. */
function numbersOf(packed: Buffer, first: number): number[] {
  const numbers: number[] = [];
  for (let at = first; at < packed.length;) {
    const byte = packed[at++]!;
    const bytes = byte < 0x80 ? 0 : 2 ** (byte - 0xcc);
    if (byte >= 0x80 && (byte < 0xcc || byte > 0xcf)) throw new Error(`no unsigned integer: ${packed.toString('hex')}`);
    numbers.push(bytes === 0 ? byte : Number(`0x${packed.toString('hex', at, at + bytes)}`));
    at += bytes;
  }
  return numbers;
}
