/** Costs of one post at a rate of operations: the gateway's CPU, frames to its viewers, and Redis commands. */
import { setTimeout as sleep } from 'node:timers/promises';
import { measureCpu } from '../harness/cpu.mjs';
import { startGateway, startRedis } from '../harness/servers.mjs';
import { socketIoScript } from '../watching/candidates.mjs';
import { openCrowd, received } from '../watching/crowd.mjs';
import { startActing } from './acting.mjs';
import { countCommands } from './readings.mjs';

/** The watched post is `hot0`. */
const PREFIX = 'hot';
const CONNECTIONS = 200;
/** Unacknowledged operations of a connection: more than it sends in a second. */
const WINDOW = 64;

/** Acts at `rate` (0: not at all) on posts of a gateway; calls `begin` after the warm-up and its result at the end. */
async function during(server, { rate, posts, toggles = 50, seconds, warmup, cores }, begin) {
  const load = { core: cores.load, port: server.port, prefix: PREFIX, connections: CONNECTIONS, window: WINDOW };
  const acting = rate === 0 ? null : startActing({ ...load, rate, posts, toggles, warmup, seconds });
  try {
    await (acting?.measuring() ?? sleep(warmup * 1_000));
    const end = await begin();
    await sleep(seconds * 1_000);
    const figures = await end();
    return { operationsPerSecond: (await acting?.result())?.operationsPerSecond ?? 0, ...figures };
  } finally {
    await acting?.load.end();
  }
}

/** @returns the gateway's CPU as a share of a core, and frames a second to `viewers` of the post */
export async function watchedAt(server, viewers, setting) {
  const watch = socketIoScript(`"${PREFIX}0"`);
  const crowd = viewers === 0 ? null : await openCrowd(server, viewers, watch, setting.cores.load);
  try {
    return await during(server, { ...setting, posts: 1 }, async () => {
      if (crowd !== null) await received(crowd);
      const cpu = measureCpu(server.pids, setting.cores.server);
      return async () => {
        const { share, wallMicros } = cpu();
        const frames = crowd === null ? 0 : (await received(crowd)).frames;
        return { serverShare: share, framesPerSecond: (frames / wallMicros) * 1e6 };
      };
    });
  } finally {
    await crowd?.end();
  }
}

/** @returns Redis commands a second, by name, of a gateway with operations on `posts` posts; only the first is watched */
export async function commandsAt(posts, setting) {
  const { cores } = setting;
  const redis = await startRedis(cores.load);
  const server = await startGateway({ REDIS_URL: redis.url }, cores.server);
  const crowd = await openCrowd(server, 1, socketIoScript(`"${PREFIX}0"`), cores.load);
  try {
    return await during(server, { ...setting, posts }, () => countCommands(redis));
  } finally {
    await Promise.all([crowd, server, redis].map((one) => one.end()));
  }
}

/** @returns the same for `count` gateways on one Redis that share the rate; each has a viewer of the post */
export async function commandsOfGateways(count, { rate, ...setting }) {
  const { cores } = setting;
  const redis = await startRedis(cores.load);
  const servers = [];
  const crowds = [];
  try {
    while (servers.length < count) servers.push(await startGateway({ REDIS_URL: redis.url }, cores.server));
    for (const server of servers) crowds.push(await openCrowd(server, 1, socketIoScript(`"${PREFIX}0"`), cores.load));
    // The first one counts the commands; the others act during about the same time.
    const [first] = await Promise.all(
      servers.map((server, i) =>
        during(server, { ...setting, rate: Math.round(rate / count), posts: 1 }, () =>
          i === 0 ? countCommands(redis) : () => ({}),
        ),
      ),
    );
    return first;
  } finally {
    await Promise.all([...crowds, ...servers, redis].map((one) => one.end()));
  }
}
