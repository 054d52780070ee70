import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { MARK_GENERATION_MS } from '../../src/counters/bucket.js';
import { LOG_CONSTANTS } from '../../src/log/redis/scripts/log-constants.js';
import { LOG_KEY } from '../../src/log/redis/scripts/log-scripts.js';
import {
  buildBucketKeys,
  buildPositionsKey,
  buildVisitorSecretKey,
  CONFIG_KEY,
  LEASES_KEY,
} from '../../src/store/redis/codec/redis-keys.js';
import { libraryTable, namesIn } from '../../src/store/redis/scripts/assemble-script.js';
import { SCRIPT_CONSTANTS } from '../../src/store/redis/scripts/script-constants.js';
import { type LuaFolder, Script } from '../../src/store/redis/scripts/script.js';
import type { RedisStore } from '../../src/store/redis/redis-store.js';
import { BUCKETS, key, Producer, like, METRICS, postIn, START_MS, view } from '../contract/operations.js';
import { ROOT } from '../support/gateway-process.js';
import { type RedisServer, startRedis, stopRedis } from '../support/redis-server.js';
import { openRedisStore } from '../support/redis-store.js';
import { until } from '../support/until.js';

/** Folders of scripts, by the constants that their Lua files may name. */
const FOLDERS: readonly LuaFolder[] = [
  { folder: join(ROOT, 'src/store/redis/scripts'), constants: SCRIPT_CONSTANTS },
  { folder: join(ROOT, 'src/log/redis/scripts'), constants: LOG_CONSTANTS },
];
const SCRIPTS = FOLDERS.flatMap((lua) => listLua(lua.folder).map((file) => ({ file, ...lua })));
const LIBRARIES = FOLDERS.flatMap((lua) =>
  listLua(join(lua.folder, 'lib')).map((file) => ({ file: `lib/${file}`, ...lua })),
);
/** Lua allows 200 local variables a function. Every script leaves room for these. */
const SPARE_LOCALS = Array.from({ length: 40 }, (_, i) => `spare_${i}`);

/** No sweep changes which posts are due, or when they may be published, during a test. */
const PUBLISH_MS = 60_000;

let server: RedisServer;
let client: Redis;
let store: RedisStore;

beforeAll(async () => {
  server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
});
afterAll(stopRedis);
beforeEach(async () => {
  client = server.client();
  await client.flushall();
  store = await openRedisStore(server.url, { metrics: METRICS, buckets: BUCKETS, publishIntervalMs: PUBLISH_MS });
});
afterEach(() => store.close());

function listLua(folder: string): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.lua'))
    .sort();
}

it('no two Lua files have the same name, because the bundle has all of them in one folder', () => {
  const files = [...SCRIPTS, ...LIBRARIES].map(({ file }) => file);
  expect(files).toEqual([...new Set(files)]);
});

describe.each(SCRIPTS)('$file', ({ file, ...lua }) => {
  const lines = readFileSync(join(lua.folder, file), 'utf8').split('\n');
  /** Lines of the header with their numbers: an index, "i", or e.g. "5 + i". */
  const numbered = (name: string): [string, string][] =>
    lines.flatMap((line) => {
      const [, number, text] = new RegExp(`^-- ${name}\\[(\\d+|(?:\\d+ \\+ )?i)\\] +(\\S.*)$`).exec(line) ?? [];
      return text === undefined ? [] : [[number!, text]];
    });

  it('the script begins with a shebang of flags that Redis has, and describes itself', () => {
    expect(lines[0]).toMatch(/^#!lua( flags=(allow-oom|no-writes))?$/);
    expect(lines[1]).toMatch(/^-- [A-Z]/);
    expect(lines.some((line) => line.startsWith('-- Returns  '))).toBe(true);
  });

  it('the script declares as many keys as its name says, by names that redis-keys.ts builds', () => {
    const declared = numbered('KEYS').map(([number, text]) => [number, text.split('  ')[0]]);
    const keys = Object.values<string>({ ...buildBucketKeys(0, '{g}') });
    const deployment = [CONFIG_KEY, LEASES_KEY, LOG_KEY, buildPositionsKey('name'), buildVisitorSecretKey('day')];
    const built = new Set([...deployment, ...keys.map((one) => one.replace('{0}', '{b}'))]);
    const [, keyCount] = /-(\d+|n)\.lua$/.exec(file)!;
    const expected = Array.from({ length: Number(keyCount) || 0 }, (_, i) => String(i + 1));
    expect(declared.map(([number]) => number)).toEqual(keyCount === 'n' ? ['i'] : expected);
    expect(declared.filter(([, name]) => !built.has(String(name)))).toEqual([]);
  });

  it('the script declares its arguments without a gap, and uses no others', () => {
    const declared = numbered('ARGV').map(([number]) => number);
    expect(declared).toEqual(declared.map((number, i) => (number.endsWith('i') ? `${i} + i` : String(i + 1))));
    expect(declared.length).toBeGreaterThan(0);
    const code = lines.filter((line) => !line.startsWith('--')).join('\n');
    const undeclared = [...code.matchAll(/\b(KEYS|ARGV)\[(\d+(?: \+ i)?)\]/g)].filter(
      ([, name, number]) => !numbered(name!).some(([declaredNumber]) => declaredNumber === number),
    );
    expect(undeclared).toEqual([]);
  });

  it('the script compiles with 40 more local variables', async () => {
    const [first, ...others] = new Script(file.replace('.lua', ''), false, lua).source.split('\n');
    const source = [first, `local ${SPARE_LOCALS.join(', ')}`, ...others].join('\n');
    expect(await client.script('LOAD', source)).toMatch(/^[0-9a-f]{40}$/);
  });
});

describe.each([...SCRIPTS, ...LIBRARIES])('$file', ({ file, folder, constants }) => {
  const lua = readFileSync(join(folder, file), 'utf8');
  const code = lua.replaceAll(/^#!.*|--.*/gm, '').replaceAll(/'[^'\n]*'/g, "''");
  const isUsed = (name: string): boolean => new RegExp(`(?<![\\w.])${name}\\b`).test(code);

  it('the source defines no constant that script-constants.ts has', () => {
    const defined = [...code.matchAll(/\blocal ((?:\w+, )*\w+)/g)].flatMap(([, names]) => names!.split(', '));
    expect(defined.filter((name) => name in constants)).toEqual([]);
  });

  it('the source names the libraries and constants that it uses, and no others', () => {
    const named = [...namesIn(lua, 'include'), ...namesIn(lua, 'include-late'), ...namesIn(lua, 'needs')].map(
      libraryTable,
    );
    const tables = LIBRARIES.map((library) => libraryTable(basename(library.file, '.lua')));
    const usedTables = tables.filter((table) => new RegExp(`(?<![\\w.])${table}\\.`).test(code));
    const own = libraryTable(basename(file, '.lua'));
    expect(usedTables.filter((table) => table !== own)).toEqual(named.filter((table) => table !== own).sort());
    expect(Object.keys(constants).filter(isUsed).sort()).toEqual(namesIn(lua, 'constants').sort());
  });
});

const [POST, OTHER] = [postIn(0), postIn(0, 1)];
const BEFORE = new Producer('before');
const SESSION = { session: key(7), seq: 1 };

async function dump(one: string): Promise<Buffer | null> {
  return await client.dumpBuffer(one);
}

/** Reads all keys, each as its DUMP, which contains its type and its value. */
async function readContents(except?: string): Promise<Map<string, string | undefined>> {
  const keys = (await client.keys('*')).filter((one) => one !== except).sort();
  const dumps = await Promise.all(keys.map(async (one) => (await dump(one))?.toString('hex')));
  return new Map(keys.map((one, i) => [one, dumps[i]!]));
}

describe('a commit that Redis rejects', () => {
  const all = buildBucketKeys(0, 'gateway');
  /** Makes a post that is watched and was published just now, so that a commit reads and writes every kind of key. */
  const prepare = async (): Promise<Producer> => {
    const producer = new Producer('prod-one');
    await store.changeStore.changesSince([{ bucket: 0, after: 0 }], { limit: 500, withMembers: true });
    store.watch(POST);
    await store.read([POST], null);
    await store.commit(producer.batch(0, [view(OTHER, 1, SESSION)], START_MS - MARK_GENERATION_MS));
    await store.commit(producer.batch(0, [view(POST), like(POST, key(1)), view(OTHER, 1, { ...SESSION, seq: 2 })]));
    // No sweep changes anything from here on.
    await until(
      async () => (await client.hget(all.bucket, 'oldest_marks')) === '2',
      'the sweep has removed generation 1',
    );
    return producer;
  };

  it.each([
    ['the hash of the bucket', all.bucket],
    ['producers', all.producers],
    ['viewers', all.viewers],
    ['the times of the next publications', all.publishAfter],
    ['the posts that are due', all.publishDue],
    ['the changed posts', `${all.bucket}:changed_posts`],
    ['a chunk of posts', `${all.bucket}:posts:0`],
    ['a chunk of marks', `${all.bucket}:marks:3:0`],
    ['a chunk of marks of the previous generation', `${all.bucket}:marks:2:0`],
    ['a chunk of members', `${all.bucket}:members:0:${POST}:0`],
  ])('a rejected commit changes nothing if %s has a wrong type', async (_, wrong) => {
    const producer = await prepare();
    const original = await dump(wrong);
    await client.del(wrong);
    await client.set(wrong, 'in the way');
    const before = await readContents(wrong);
    // The second session has no mark in this generation, so the previous one is read.
    const withSessions = [7, 8].map((number) => view(OTHER, 1, { session: key(number), seq: 3 }));
    const batch = producer.batch(0, [view(POST), like(POST, key(2)), ...withSessions], START_MS + 1);
    await expect(store.commit(batch)).rejects.toThrow(/WRONGTYPE/);
    expect(await readContents(wrong)).toEqual(before);
    await client.del(wrong);
    if (original !== null) await client.restore(wrong, 0, original);
    expect(await store.commit(batch)).toMatchObject({ kind: 'applied', outcomes: Uint8Array.of(1, 5, 1, 1) });
    expect((await store.read([POST], key(2)))[0]).toMatchObject({ counts: { v: 2, totals: [2, 2, 0, 0] }, on: 1 });
  });

  it.each([
    ['posts', `${all.bucket}:posts:1`],
    ['marks', `${all.bucket}:marks:3:1`],
    ['members', `${all.bucket}:members:0:${POST}:1`],
  ])('a rejected commit changes nothing if the key of a new chunk of %s is taken', async (_, wrong) => {
    const producer = await prepare();
    await client.set(wrong, 'in the way');
    const before = await readContents();
    const many = Array.from({ length: 500 }, (_, i) =>
      i < 100 ? view(postIn(0, i), 1, { session: key(100 + i), seq: 1 }) : like(POST, key(i)),
    );
    const batch = producer.batch(0, [...many, ...many.map((_, i) => like(POST, key(1_000 + i)))], START_MS + 1);
    await expect(store.commit(batch)).rejects.toThrow(/in the way/);
    expect(await readContents()).toEqual(before);
    await client.del(wrong);
    expect(await store.commit(batch)).toMatchObject({ kind: 'applied' });
    expect((await store.read([POST], null))[0]!.counts.totals).toEqual([901, 2, 0, 0]);
  });

  it('a commit is rejected while Redis is out of memory and accepted afterwards; reads go on', async () => {
    const producer = await prepare();
    const before = await readContents();
    await client.config('SET', 'maxmemory', '1');
    const batch = producer.batch(0, [view(POST)]);
    try {
      await expect(store.commit(batch)).rejects.toThrow(/OOM/);
      expect(store.available).toBe(false);
      expect(await readContents()).toEqual(before);
      expect((await store.read([POST], key(1)))[0]).toMatchObject({ counts: { totals: [1, 1, 0, 0] }, on: 1 });
    } finally {
      await client.config('SET', 'maxmemory', '0');
    }
    expect(await store.commit(batch)).toMatchObject({ kind: 'applied' });
    expect(store.available).toBe(true);
  });
});

describe('a Redis server', () => {
  it('a Redis server gets the scripts again after they are flushed', async () => {
    const producer = new Producer('prod-one');
    for (let i = 1; i <= 3; i++) {
      await client.script('FLUSH');
      expect(await store.commit(producer.batch(0, [view(POST)]))).toMatchObject({ kind: 'applied' });
      await client.script('FLUSH');
      expect((await store.read([POST], null))[0]!.counts.totals).toEqual([0, i, 0, 0]);
    }
  });

  it('a restarted Redis server counts in a new epoch, the same for all gateways and for reads', async () => {
    const other = await openRedisStore(server.url, { metrics: METRICS, buckets: BUCKETS });
    try {
      const producers = [new Producer('prod-one'), new Producer('prod-two')] as const;
      await store.commit(producers[0].batch(0, [view(POST)]));
      await store.commit(BEFORE.batch(1, [view(postIn(1))]));
      await server.kill('SIGKILL');
      await server.restart();
      await until(() => store.available && other.available, 'both stores are available');
      const first = await store.commit(producers[0].batch(0, [view(POST)]));
      const second = await other.commit(producers[1].batch(0, [view(POST)]));
      const counts = [first, second].map((result) => result.kind === 'applied' && result.counts.get(POST));
      expect(counts).toMatchObject([
        { e: 'local.2.7', v: 2 },
        { e: 'local.2.7', v: 3 },
      ]);
      for (const reader of [store, other, store]) {
        const views = await reader.read([POST, postIn(1), postIn(2)], null);
        expect(views.map(({ counts }) => [counts.e, counts.totals[1]])).toEqual([
          ['local.2.7', 3],
          ['local.2.7', 1],
          // This bucket has no commits, so it is in its first epoch.
          ['local.1.7', 0],
        ]);
      }
    } finally {
      await other.close();
    }
  });
});
