/** Bytes of stored data: on disk with the embedded store, in memory with Redis. The same in every run: one round. */
import { short } from '../harness/alternate.mjs';
import { check } from '../harness/results.mjs';

export const title = 'bytes for each counter and each like, on disk and in Redis';
/** `group` and `redisGroup`: operations committed together. */
export const options = { posts: 1_000_000, likes: 1_000_000, group: 1_000, redisGroup: 4_000 };

export async function run({ options: chosen }) {
  // Imported here, because both need build/, and other benches do not.
  const { embeddedRows } = await import('../bytes/embedded.mjs');
  const { redisRows } = await import('../bytes/redis.mjs');
  const onDisk = await embeddedRows(chosen);
  const inRedis = await redisRows(chosen);
  return {
    tables: [tableOf('on disk, embedded store', onDisk), tableOf("in Redis's memory", inRedis)],
    checks: [...onDisk, ...inRedis]
      .filter(({ target }) => target !== null)
      .map(({ what, count, bytes, target }) => check(what, bytes / count, { atMost: target })),
    data: { ...chosen, onDisk, inRedis },
  };
}

function tableOf(title, rows) {
  return {
    title,
    columns: ['', 'how many', 'bytes each'],
    rows: rows.map(({ what, count, bytes }) => [what, short(count), short(bytes / count)]),
  };
}
