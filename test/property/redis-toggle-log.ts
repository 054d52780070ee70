import type { Redis } from 'ioredis';
import { MsgpackReader } from '../../src/store/redis/codec/msgpack-reader.js';

/** Bytes of a set's number. */
const SET_BYTES = 2;
/** Actors that a chunk of registers has by its mean, at most and, where there are many, at least. */
const [ACTORS_MOST, ACTORS_LEAST] = [128, 32] as const;

/** What the bucket's hash says of one of its generations of registers: docs/redis-keys.md. */
interface Generation {
  readonly number: number;
  readonly base: number;
  readonly bytes: number;
  readonly newest: number;
  readonly sets: number;
  readonly actors: number;
  readonly chunks: number;
}

/** @returns the chunk of a hash among this many; and the hash of an actor's key */
export interface Chunks {
  readonly chunkOf: (hash: number, chunks: number) => number;
  readonly hashOfKey: (key: string) => number;
}

/**
 * What is wrong with the last words that a bucket keeps, one line each: logs whose numbers do not fit what they number, registers where nothing
 * looks for them, toggles that there are not.
 */
export async function findToggleLogFaults(
  client: Redis,
  key: string,
  isToggle: (set: string) => boolean,
  chunks: Chunks,
): Promise<string[]> {
  const faults: string[] = [];
  const fault = (what: string): void => void faults.push(`${key}: ${what}`);
  const fields = await client.hgetallBuffer(key);
  const number = (field: string): number => Number(fields[field] ?? 0);
  await checkLog(client, `${key}:local_log`, number('local_log_written'), number('local_log_removed'), isToggle, fault);
  await checkLog(
    client,
    `${key}:remote_log`,
    number('remote_log_written'),
    number('remote_log_removed'),
    isToggle,
    fault,
  );
  const floor = floorIn(fields['replication']);
  for (const generation of generationsIn(fields['segments'])) {
    // Else it is on its way out.
    if (generation.newest <= floor) continue;
    await checkGeneration(client, `${key}:registers:${generation.number}:`, generation, isToggle, chunks, fault);
  }
  return faults;
}

/** @param written, removed  words that were ever written, and those of them that are gone */
async function checkLog(
  client: Redis,
  key: string,
  written: number,
  removed: number,
  isToggle: (set: string) => boolean,
  fault: (what: string) => void,
): Promise<void> {
  let last = removed;
  for (const [id, [, packed]] of (await client.xrangeBuffer(key, '-', '+')) as [Buffer, [Buffer, Buffer]][]) {
    const [stamp, upTo] = id.toString().split('-').map(Number) as [number, number];
    const values = new MsgpackReader(packed);
    for (let left = values.readInteger(); left > 0;) {
      const set = `${values.readText()} ${values.readInteger()}`;
      if (!isToggle(set)) fault(`${key} has words on ${set}`);
      if (values.readInteger() > stamp) fault(`a word in ${id.toString()} of ${key} is later than that`);
      const actors = values.readInteger();
      for (let i = 0; i < actors; i++) values.readText();
      left -= 4 + actors;
      last += actors;
    }
    if (!values.isDone || last !== upTo) fault(`${last} words up to ${id.toString()} of ${key}`);
  }
  if (last !== written) fault(`${last} words in ${key} instead of ${written}`);
}

function floorIn(packed: Buffer | undefined): number {
  if (packed === undefined) return 0;
  const values = new MsgpackReader(packed);
  for (let before = 3; before > 0; before--) values.readInteger();
  return values.readInteger();
}

function generationsIn(packed: Buffer | undefined): Generation[] {
  const generations: Generation[] = [];
  const values = new MsgpackReader(packed ?? Buffer.alloc(0));
  while (!values.isDone) {
    const [number, base, bytes] = [values.readInteger(), values.readInteger(), values.readInteger()];
    values.readInteger();
    const [newest, sets, actors, chunks] = [
      values.readInteger(),
      values.readInteger(),
      values.readInteger(),
      values.readInteger(),
    ];
    generations.push({ number, base, bytes, newest, sets, actors, chunks });
  }
  return generations;
}

async function checkGeneration(
  client: Redis,
  prefix: string,
  { base, bytes, newest, sets, actors, chunks }: Generation,
  isToggle: (set: string) => boolean,
  { chunkOf, hashOfKey }: Chunks,
  fault: (what: string) => void,
): Promise<void> {
  const names = await client.lrange(`${prefix}names`, 0, -1);
  const numbers = Object.entries(await client.hgetall(`${prefix}sets`)).map(([set, number]) => [Number(number), set]);
  const isRight = JSON.stringify(numbers.sort()) === JSON.stringify(names.map((set, i) => [i, set]).sort());
  if (!isRight || names.length !== sets || !names.every(isToggle)) fault(`${prefix} has sets ${names.join(', ')}`);
  let found = 0;
  for (let chunk = 0; chunk < chunks; chunk++) {
    for (const [actor, packed] of Object.entries(await client.hgetallBuffer(`${prefix}${chunk}`))) {
      found += 1;
      if (chunkOf(hashOfKey(actor), chunks) !== chunk) fault(`${actor} stands in chunk ${chunk} of ${chunks}`);
      const known = new Set<number>();
      for (let at = 0; at < packed.length; at += SET_BYTES + bytes) {
        const set = packed.readUIntBE(at, SET_BYTES);
        if (known.has(set) || set >= sets) fault(`${actor} has a set ${set} in ${prefix}`);
        const stamp = base + Number(`0x${packed.toString('hex', at + SET_BYTES, at + SET_BYTES + bytes)}`);
        if (stamp <= base || stamp > newest) fault(`${actor} has a stamp ${stamp} in ${prefix}`);
        known.add(set);
      }
    }
  }
  if (found !== actors) fault(`${prefix} has ${found} actors instead of ${actors}`);
  if (chunks < actors / ACTORS_MOST || chunks > 1 + actors / ACTORS_LEAST) fault(`${chunks} chunks of ${prefix}`);
}
