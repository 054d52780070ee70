/**
 * Growth of costs with events on one post. Once the post changes every tick, neither the CPU of fan-out nor the number of
 * Redis commands should grow. Publishes should not grow with the number of gateways.
 */
import { commandsAt, commandsOfGateways, watchedAt } from '../acting/growing.mjs';
import { alternate } from '../harness/alternate.mjs';
import { exponentOf } from '../harness/fit.mjs';
import { linePlot } from '../harness/plot.mjs';
import { check, tableOf } from '../harness/results.mjs';
import { startGateway } from '../harness/servers.mjs';

export const title = "CPU, frames and Redis's commands against events a second; publishes against gateways";
/** `rates`: operations a second, the first 0. `shared`: rate of all gateways on one Redis. `warmup`: seconds before each. */
export const options = {
  rates: [0, 500, 1_000, 2_000, 4_000, 8_000],
  viewers: 1_000,
  gateways: [1, 2, 4],
  shared: 2_000,
  warmup: 2,
};

/** A flat line, with an allowance for noise in the fit. */
const FLAT_EXPONENT_MAX = 0.1;
/** A post is published to other gateways twice a tick, and once more for the interval that the measurement cuts. */
const PUBLISHES_MAX = 21;
const SPREAD_POSTS = 1_000;

export async function run({ rounds, seconds, cores, log, options: { rates, viewers, gateways, shared, warmup } }) {
  const setting = { seconds, warmup, cores };
  const watched = await measureWatched(rates, viewers, { ...setting, rounds, log });
  const acted = rates.filter((rate) => rate > 0);
  const commands = await alternate(
    acted.flatMap((rate) => [
      { name: `${rate} on one post`, measure: () => countsOf(commandsAt(1, { ...setting, rate })) },
      { name: `${rate} on many`, measure: () => countsOf(commandsAt(SPREAD_POSTS, { ...setting, rate })) },
    ]),
    { rounds: 1, baseline: `${acted[0]} on one post`, log },
  );
  const publishes = await alternate(
    gateways.flatMap((count) => [
      {
        name: `${count} gateways, views`,
        measure: () => countsOf(commandsOfGateways(count, { ...setting, rate: shared, toggles: 0 })),
      },
      {
        name: `${count} gateways, likes`,
        measure: () => countsOf(commandsOfGateways(count, { ...setting, rate: shared, toggles: 100 })),
      },
    ]),
    { rounds: 1, baseline: `${gateways[0]} gateways, views`, log },
  );
  return resultOf({ acted, viewers, gateways, shared }, { watched, commands, publishes });
}

/** Uses two gateways for all rates: one with viewers of the post, and one without. */
async function measureWatched(rates, viewers, { rounds, log, ...setting }) {
  const sides = [
    { side: 'watched', viewers, server: await startGateway({}, setting.cores.server) },
    { side: 'unwatched', viewers: 0, server: await startGateway({}, setting.cores.server) },
  ];
  const candidates = rates.flatMap((rate) =>
    sides.map((one) => ({
      name: `${rate} ${one.side}`,
      measure: () => watchedAt(one.server, one.viewers, { ...setting, rate }),
    })),
  );
  const result = await alternate(candidates, { rounds, baseline: `${rates[0]} watched`, log });
  await Promise.all(sides.map(({ server }) => server.end()));
  return result;
}

async function countsOf(counting) {
  const { operationsPerSecond, ...calls } = await counting;
  const { evalsha = 0, spublish = 0, publish = 0, ssubscribe = 0 } = calls;
  const all = Object.values(calls).reduce((sum, one) => sum + one, 0);
  return { operationsPerSecond, evalsha, published: publish + spublish, ssubscribe, all };
}

function resultOf({ acted, viewers, gateways, shared }, { watched, commands, publishes }) {
  const cpu = (side) => acted.map((rate) => [rate, watched.figures[`${rate} ${side}`].serverShare.median]);
  const frames = acted.map((rate) => [rate, watched.figures[`${rate} watched`].framesPerSecond.median]);
  const [withViewers, without] = [cpu('watched'), cpu('unwatched')];
  const fanout = withViewers.map(([rate, share], i) => [rate, Math.max(share - without[i][1], Number.EPSILON)]);
  const scripts = (which) => acted.map((rate) => [rate, commands.figures[`${rate} on ${which}`].evalsha.median]);
  const published = (what) =>
    gateways.map((count) => [count, publishes.figures[`${count} gateways, ${what}`].published.median]);
  const flat = { atMost: FLAT_EXPONENT_MAX };
  return {
    tables: [
      tableOf(`one post: ${viewers} viewers, and none`, watched, {
        serverShare: 'CPU, of a core',
        framesPerSecond: 'frames/s',
        operationsPerSecond: 'operations/s',
      }),
      tableOf("Redis's commands a second, by operations a second", commands, COMMANDS),
      tableOf(`the same, of gateways that share ${shared} events a second on one post`, publishes, COMMANDS),
    ],
    checks: [
      check('frames grow with events to the power of', exponentOf(frames), flat),
      check('CPU of fan-out grows with events to the power of', exponentOf(fanout), flat),
      check('scripts grow with events on one post to the power of', exponentOf(scripts('one post')), flat),
      check('publishes of views grow with gateways to the power of', exponentOf(published('views')), flat),
      ...['views', 'likes'].map((what) => {
        const most = Math.max(...published(what).map(([, calls]) => calls));
        return check(`publishes a second, of ${what}`, most, { atMost: PUBLISHES_MAX });
      }),
    ],
    flags: watched.flags,
    plots: {
      'growth-events': eventsPlot(viewers, withViewers, without, fanout),
      'growth-events-redis': scriptsPlot(scripts('one post'), scripts('many')),
    },
    data: { watched, commands, publishes },
  };
}

const COMMANDS = {
  evalsha: 'EVALSHA/s',
  published: 'SPUBLISH and PUBLISH/s',
  ssubscribe: 'SSUBSCRIBE/s',
  all: 'all, also of scripts',
  operationsPerSecond: 'operations/s',
};

function eventsPlot(viewers, withViewers, without, fanout) {
  return linePlot({
    title: `CPU against events: with viewers to the power of ${exponentOf(fanout).toFixed(2)}`,
    x: { label: 'likes and views a second of one post', log: true },
    y: { label: 'CPU, of a core', log: false },
    series: [
      { name: `${viewers} viewers`, points: withViewers },
      { name: 'none', points: without },
      { name: 'difference: fan-out', points: fanout },
    ],
  });
}

function scriptsPlot(one, many) {
  return linePlot({
    title: `Redis scripts against events: to the power of ${exponentOf(one).toFixed(2)} and ${exponentOf(many).toFixed(2)}`,
    x: { label: 'likes and views a second of one gateway', log: true },
    y: { label: 'EVALSHA a second', log: true },
    series: [
      { name: 'one post', points: one },
      { name: `${SPREAD_POSTS} posts`, points: many },
    ],
  });
}
