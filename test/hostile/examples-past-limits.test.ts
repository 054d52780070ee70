import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startAddressedProxy } from '../support/addressed-proxy.js';
import { readTotals } from '../support/clients.js';
import { ADDRESS, type Example, parseExamples, runExample } from '../support/examples.js';
import { type GatewayProcess, ROOT, startGateway, stopAll } from '../support/gateway-process.js';

/** Operations a second of a connection; most examples make more. */
const OPS = 3;
/** Operations a second of an address, which all examples share. */
const OPS_PER_ADDRESS = 10;
/** Programs that run in parallel. */
const AT_ONCE = 8;
/** Additional operations of README's example, which may make this many a second. */
const VIEWS = 100;
const README_OPS = 40;

const read = (name: string): string => readFileSync(join(ROOT, name), 'utf8');

/** Examples that show the limits themselves. */
const SHOWS_LIMITS = ['Too many posts'];

const examples = parseExamples(read('docs/protocol.md')).filter(
  ({ heading, code }) => !SHOWS_LIMITS.includes(heading) && code.includes(ADDRESS),
);
let gateway: GatewayProcess;
let proxy: Awaited<ReturnType<typeof startAddressedProxy>>;

beforeAll(async () => {
  gateway = await startGateway({
    ...{ TRUST_PROXY: 'loopback' },
    ...{ MAX_OPS_PER_CONNECTION: String(OPS), MAX_OPS_PER_ADDRESS: String(OPS_PER_ADDRESS) },
  });
  proxy = await startAddressedProxy(gateway, '203.0.113.7');
});

afterAll(async () => {
  proxy.close();
  await stopAll();
});

describe('examples of docs/protocol.md', () => {
  let printed: Map<Example, Promise<string>>;

  beforeAll(() => {
    const run = (example: Example): Promise<string> => runExample(example, proxy.url);
    // All examples have the same actor: one that waits for `mine` would get that of another.
    const [others, waiting] = [examples.filter((one) => !waitsForMine(one)), examples.filter(waitsForMine)];
    printed = inParallel(others, run);
    const done = Promise.allSettled(printed.values());
    for (const example of waiting)
      printed.set(
        example,
        done.then(() => run(example)),
      );
  });

  it.each(examples)('the example loses no operation if it exceeds the limits: $heading ($client)', async (example) => {
    expect(await printed.get(example)).toBe(example.printed);
  });
});

describe('README.md', () => {
  const example = parseExamples(read('README.md')).find(({ language }) => language === 'js')!;

  it.each([
    ['awaited in turn', `for (let i = 0; i < ${VIEWS}; i++) await operate('view', { post: '42' });`],
    ['at once', `await Promise.all(Array.from({ length: ${VIEWS} }, () => operate('view', { post: '42' })));`],
  ])('the example of README.md for %s counts every operation, however many', async (_, loop) => {
    const limited = await startGateway({ MAX_OPS_PER_CONNECTION: String(README_OPS) });
    await runExample({ language: 'js', code: `${example.code}\n${loop}\nsocket.close();\n` }, limited.url);
    expect(await readTotals(limited.url, ['42'])).toEqual({ 42: { likes: 1, views: VIEWS } });
  });
});

function waitsForMine({ code }: Example): boolean {
  return code.includes("'mine', resolve");
}

/** Starts them in order, some in parallel. */
function inParallel<T, R>(all: readonly T[], start: (one: T) => Promise<R>): Map<T, Promise<R>> {
  const running: Promise<unknown>[] = [];
  return new Map(
    all.map((one, i) => {
      const result = (running[i - AT_ONCE] ?? Promise.resolve()).then(() => start(one));
      running.push(result.catch(() => undefined));
      return [one, result];
    }),
  );
}
