import type { Redis } from 'ioredis';
import { MsgpackReader } from '../../src/store/redis/codec/msgpack-reader.js';

/** Mean registers of a chunk, at most. */
const REGISTERS_MOST = 128;

/** Linear hashing: the chunk of a hash among this many; the hash of a toggle. */
export interface Chunks {
  readonly chunkOf: (hash: number, chunks: number) => number;
  readonly hashOfToggle: (toggle: string) => number;
}

/**
 * Checks the toggle updates that a bucket keeps. @returns a line for each fault: a log with wrong numbers, a register where no reader looks for it,
 * or an unknown toggle
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
  await checkRegisters(client, key, fields['registers'], isToggle, chunks, fault);
  return faults;
}

/** @param written, removed  how many updates were ever written, and how many of them removed */
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
      if (!isToggle(set)) fault(`${key} has updates of ${set}`);
      if (values.readInteger() > stamp) fault(`an update in ${id.toString()} of ${key} is later than that`);
      const actors = values.readInteger();
      for (let i = 0; i < actors; i++) values.readText();
      left -= 4 + actors;
      last += actors;
    }
    if (!values.isDone || last !== upTo) fault(`${last} updates up to ${id.toString()} of ${key}`);
  }
  if (last !== written) fault(`${last} updates in ${key} instead of ${written}`);
}

async function checkRegisters(
  client: Redis,
  key: string,
  packed: Buffer | undefined,
  isToggle: (set: string) => boolean,
  { chunkOf, hashOfToggle }: Chunks,
  fault: (what: string) => void,
): Promise<void> {
  const values = new MsgpackReader(packed ?? Buffer.of(0, 0, 0, 0));
  const [count, chunks, oldest, newest] = [
    values.readInteger(),
    values.readInteger(),
    values.readInteger(),
    values.readInteger(),
  ];
  let found = 0;
  for (let chunk = 0; chunk < chunks; chunk++) {
    for (const [toggle, stamp] of Object.entries(await client.hgetall(`${key}:registers:${chunk}`))) {
      found += 1;
      if (!isToggle(toggle.slice(0, toggle.lastIndexOf(' ')))) fault(`there is a register of ${toggle}`);
      if (chunkOf(hashOfToggle(toggle), chunks) !== chunk) fault(`${toggle} is in chunk ${chunk} of ${chunks}`);
      if (Number(stamp) < oldest || Number(stamp) > newest) fault(`${toggle} has the stamp ${stamp}`);
    }
  }
  if (found !== count) fault(`${found} registers instead of ${count}`);
  if (chunks < count / REGISTERS_MOST) fault(`${chunks} chunks for ${count} registers`);
}
