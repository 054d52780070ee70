/**
 * A feed: every socket watches twenty posts that all change every tick, and gets one frame a tick. The cost of that frame
 * is compared with that of a frame with one post. In one variant all sockets watch the same twenty posts, in another one
 * each watches a random twenty of a thousand, which all change. The cost of ingesting the operations is included, and is
 * also measured alone, without viewers.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { alternate } from '../harness/alternate.mjs';
import { measureCpu } from '../harness/cpu.mjs';
import { needSockets } from '../harness/machine.mjs';
import { check, tableOf } from '../harness/results.mjs';
import { startGateway } from '../harness/servers.mjs';
import { connectActor, socketIoScript } from '../watching/candidates.mjs';
import { drive, measureFrames, openCrowd } from '../watching/crowd.mjs';

export const title = 'feeds of 20 posts that all change every tick, beside one post';
export const options = { sockets: 1_000, tickMs: 100 };

const POSTS_EACH = 20;
const POSTS = 1_000;
const WARM_MS = 3_000;
const OF_ONE_POST_MAX = 2;
/** One frame a socket a tick at most, because a tick is the shortest interval; the load's clock differs a little. */
const FRAMES_A_TICK = { least: 0.8, most: 1.02 };

/** `posts`: number of changing posts. `watch`: the arguments of the load that subscribe each socket. */
const VARIANTS = [
  { name: 'one post', posts: 1, watch: socketIoScript('"p0"') },
  { name: 'the same 20', posts: POSTS_EACH, watch: socketIoScript(names(POSTS_EACH).map(quoted).join(',')) },
  { name: '20 of 1,000', posts: POSTS, watch: [...socketIoScript('%p'), '--posts', `${POSTS_EACH}/${POSTS}`] },
];
const COLUMNS = {
  microsPerFrame: 'CPU µs a frame',
  fanoutMicrosPerFrame: 'without operations',
  bytesPerFrame: 'bytes',
  framesPerTick: 'frames a socket a tick',
  serverShare: 'server busy',
};

export async function run({ rounds, seconds, cores, options: { sockets, tickMs } }) {
  needSockets(sockets);
  const setting = { sockets, tickMs, seconds, cores };
  const candidates = VARIANTS.map((variant) => ({
    name: variant.name,
    measure: () => measureVariant(variant, setting),
  }));
  const measured = await alternate(candidates, { rounds, baseline: VARIANTS[0].name });
  const checks = VARIANTS.slice(1).flatMap(({ name }) => {
    const { microsPerFrame, fanoutMicrosPerFrame } = measured.ratios[name];
    const { framesPerTick } = measured.figures[name];
    return [
      check(`${name} / one post`, microsPerFrame.median, { atMost: OF_ONE_POST_MAX }),
      check(`${name} / one post, without operations`, fanoutMicrosPerFrame.median, { atMost: OF_ONE_POST_MAX }),
      check(`${name}: frames a socket a tick`, framesPerTick.median, { atMost: FRAMES_A_TICK.most }),
      check(`${name}: frames a socket a tick`, framesPerTick.median, { atLeast: FRAMES_A_TICK.least }),
    ];
  });
  const heading = `${sockets.toLocaleString('en')} sockets, a frame each every ${tickMs} ms`;
  return {
    tables: [tableOf(heading, measured, COLUMNS)],
    checks,
    flags: measured.flags,
    data: { ...setting, ...measured },
  };
}

async function measureVariant({ posts, watch }, { sockets, tickMs, seconds, cores }) {
  const server = await startGateway({ TICK_MS: String(tickMs) }, cores.server);
  const actor = await connectActor(server.url);
  const changing = names(posts);
  const stop = drive(() => changing.forEach((post) => actor.view(post)), tickMs);
  try {
    const operations = await measureOperations(server, seconds, cores);
    const load = await openCrowd(server, sockets, watch, cores.load);
    const frames = await measureFrames(server, load, { seconds, cores });
    await load.end();
    return {
      ...frames,
      fanoutMicrosPerFrame: frames.microsPerFrame - (operations.share / frames.framesPerSecond) * 1e6,
      framesPerTick: (frames.framesPerSecond / sockets / 1_000) * tickMs,
      operationsShare: operations.share,
    };
  } finally {
    stop();
    actor.close();
    await server.end();
  }
}

/** Measures the same operations without viewers. */
async function measureOperations(server, seconds, cores) {
  await sleep(WARM_MS);
  const cpu = measureCpu(server.pids, cores.server);
  await sleep(seconds * 1_000);
  return cpu();
}

function names(count) {
  return Array.from({ length: count }, (_, i) => `p${i}`);
}

function quoted(post) {
  return `"${post}"`;
}
