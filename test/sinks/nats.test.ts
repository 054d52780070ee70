import { DiscardPolicy, jetstreamManager, RetentionPolicy } from '@nats-io/jetstream';
import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { parseNatsUrl } from '../../src/config/sink-urls.js';
import { buildNatsSink } from '../../src/sinks/nats/nats-sink.js';
import { NatsStream, WINDOW } from '../../src/sinks/nats/nats-stream.js';
import { bucketOf } from '../../src/counters/bucket-of.js';
import { BUCKETS, METRICS } from '../contract/operations.js';
import { type NatsServer, startNats, stopNats } from '../support/nats-server.js';
import { Random } from '../support/random.js';
import { startProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';
import { FedStore, type FeedingGateway } from './fed-store.js';
import { NatsReader } from './nats-reader.js';
import { RowConsumer } from './row-consumer.js';

const SEED = Number(process.env['TEST_SEED'] ?? 20_261_129);
const ROUNDS = 8 * Number(process.env['TEST_SCALE'] ?? 1);
const STREAM = 'COUNTS';

let random: Random;
let store: FedStore;
let server: NatsServer;
/** Between the gateways and the server. */
let proxy: TcpProxy;
/** Reads the stream from the beginning, and goes on. */
let reader: NatsReader;
let consumer: RowConsumer;

beforeEach(async () => {
  random = new Random(SEED);
  store = await FedStore.open(SEED);
  server = await startNats();
  proxy = await startProxy(server);
  consumer = new RowConsumer(METRICS);
  reader = new NatsReader(server, STREAM, consumer);
});

afterEach(async () => {
  proxy.resume();
  await store.close();
  await proxy.close();
  await server.kill();
});

afterAll(stopNats);

function startGateway(region = 'eu', at = proxy.port): FeedingGateway {
  const url = new URL(`nats://127.0.0.1:${at}?stream=${STREAM}`);
  return store.startGateway((options, changeStore) => buildNatsSink({ ...options, region, url }, changeStore));
}

/** Waits until a program that has followed the stream, and one that begins now, both have the counts of the store. */
async function untilCopied(): Promise<void> {
  let late = new RowConsumer(METRICS);
  const poll = async (): Promise<void> => {
    const beginner = new RowConsumer(METRICS);
    await new NatsReader(server, STREAM, beginner).poll();
    late = beginner;
    await reader.poll();
  };
  const polling = setInterval(() => void poll().catch(() => undefined), 100);
  try {
    await store.untilCopied({
      get counts() {
        return late.counts;
      },
    });
    await store.untilCopied(consumer);
  } finally {
    clearInterval(polling);
  }
}

describe('NATS', () => {
  it('the stream keeps the newest counts of each post under its subject', async () => {
    await store.change(300);
    startGateway();
    await untilCopied();
    await store.change(50);
    await untilCopied();
    const posts = [...(await store.readCounts()).keys()];
    const subjects = new Set(reader.messages.map(({ subject }) => subject));
    const toSubject = (post: string): string =>
      `tallycast.counts.${bucketOf(post, BUCKETS)}.${post.replace('.', '%2E')}`;
    expect([...subjects].sort()).toEqual(posts.map(toSubject).sort());
    const { state, config } = await readInfo();
    expect(state).toMatchObject({ messages: posts.length + 1, num_subjects: posts.length + 1 });
    expect(config).toMatchObject({ subjects: ['tallycast.>'], max_msgs_per_subject: 1, storage: 'file' });
  });

  it(`a server that is killed and connections that are cut lose nothing (TEST_SEED=${SEED})`, async () => {
    startGateway();
    for (let round = 0; round < ROUNDS; round++) {
      await store.change(100);
      if (random.chance(0.5)) {
        await server.kill();
        await store.change(100);
        await server.restart();
      } else {
        proxy.cut();
      }
      if (random.chance(0.3)) await untilCopied();
    }
    await untilCopied();
  });

  it(`gateways that take over from each other all the time lose nothing (TEST_SEED=${SEED})`, async () => {
    for (let i = 0; i < 3; i++) startGateway();
    for (let round = 0; round < 3 * ROUNDS; round++) {
      store.passLease(random.below(3));
      await store.change(100);
      await reader.poll().catch(() => undefined);
    }
    await untilCopied();
  });

  it('no message of a gateway is stored after another one took over, even if it was on its way before', async () => {
    const target = parseNatsUrl(new URL(`nats://127.0.0.1:${proxy.port}?stream=${STREAM}`));
    const old = await NatsStream.connect(target);
    await old.open();
    await old.fence('eu');
    const messages = Array.from({ length: WINDOW }, (_, i) => ({ subject: `tallycast.counts.0.old-${i}`, body: '{}' }));
    proxy.stall();
    const late = old.publish(messages).then(
      (isStored) => isStored,
      () => false,
    );
    const successor = await NatsStream.connect(parseNatsUrl(new URL(`${server.url}?stream=${STREAM}`)));
    await successor.open();
    await successor.fence('eu');
    expect(await successor.publish([{ subject: 'tallycast.counts.0.new', body: '{}' }])).toBe(true);
    proxy.resume();
    expect(await late).toBe(false);
    expect(await successor.publish([{ subject: 'tallycast.counts.0.new', body: '{}' }])).toBe(true);
    await reader.poll();
    expect(reader.messages.map(({ subject }) => subject)).toEqual(['tallycast.counts.0.new']);
    await old.close();
    await successor.close();
  });

  it('a stream that was deleted or purged gets every post again', async () => {
    await store.change(200);
    const first = startGateway();
    await untilCopied();
    const manager = await jetstreamManager(await server.connect());
    await manager.streams.delete(STREAM);
    consumer = new RowConsumer(METRICS);
    reader = new NatsReader(server, STREAM, consumer);
    await store.change(20);
    await untilCopied();
    await first.close();
    await manager.streams.purge(STREAM);
    startGateway();
    store.passLease(1);
    await untilCopied();
  });

  it('counts of a store that lost its last commits replace those that it lost', async () => {
    await store.change(300, 20);
    startGateway();
    await untilCopied();
    await store.fallBack(async () => {
      startGateway();
      store.passLease(1);
      await store.change(100, 20);
      await untilCopied();
    });
    startGateway();
    store.passLease(2);
    await store.change(20, 20);
    await untilCopied();
  });

  it('a stream that another region feeds is left alone', async () => {
    await store.change(10);
    const first = startGateway('us');
    await untilCopied();
    await first.close();
    const { warnings } = startGateway('eu');
    store.passLease(1);
    await until(() => warnings.length > 0, 'the failure is reported');
    expect(warnings).toEqual([
      `nats://127.0.0.1:${proxy.port}?stream=COUNTS: region us feeds the stream COUNTS; name another stream, or delete this one`,
    ]);
  });

  it('a server that is away is reported once, and fed when it is back', async () => {
    await server.kill();
    await store.change(10);
    const { warnings } = startGateway('eu', server.port);
    await until(() => warnings.length > 0, 'the failure is reported');
    await server.restart();
    await untilCopied();
    expect(warnings).toHaveLength(1);
  });

  it('a wrong password is reported without it', async () => {
    const guarded = await startNats(['--user', 'ann', '--pass', 'correct-horse']);
    await store.change(10);
    const url = new URL(`nats://ann:battery-staple@127.0.0.1:${guarded.port}?stream=${STREAM}`);
    const { warnings } = store.startGateway((options, changeStore) => buildNatsSink({ ...options, url }, changeStore));
    await until(() => warnings.length > 0, 'the failure is reported');
    expect(warnings.join()).toContain('Authorization Violation');
    expect(warnings.join()).not.toContain('battery-staple');
    await guarded.kill();
  });

  it('nats+tls:// is never sent in the clear', async () => {
    await store.change(10);
    const url = new URL(`nats+tls://127.0.0.1:${server.port}?stream=${STREAM}`);
    const { warnings } = store.startGateway((options, changeStore) => buildNatsSink({ ...options, url }, changeStore));
    await until(() => warnings.length > 0, 'the failure is reported');
    expect(warnings.join()).toContain("does not support 'tls'");
  });

  it.each([
    [{ subjects: ['other.>'] }, 'its subjects are other.> instead of tallycast.>'],
    [{ subjects: ['tallycast.counts.>'] }, 'its subjects are tallycast.counts.> instead of tallycast.>'],
    [{ max_age: 1e9 }, 'max_age is not 0'],
    [{ max_msgs: 5 }, 'max_msgs is 5 and discard is old'],
    [{ max_bytes: 1e6 }, 'max_bytes is 1000000 and discard is old'],
    [{ retention: RetentionPolicy.Interest }, 'retention is interest instead of limits'],
    [{ no_ack: true }, 'no_ack is true'],
  ])('a stream that exists with %j is reported, and gets nothing', async (config, problem) => {
    const manager = await jetstreamManager(await server.connect());
    await manager.streams.add({ name: STREAM, subjects: ['tallycast.>'], max_msgs_per_subject: 1, ...config });
    await store.change(10);
    const { warnings } = startGateway();
    await until(() => warnings.length > 0, 'the failure is reported');
    expect(warnings.join()).toContain(`the stream ${STREAM} does not keep every row: ${problem}. Change that`);
    expect((await readInfo()).state.last_seq).toBe(0);
  });

  it('a stream that exists and keeps every row is fed', async () => {
    const manager = await jetstreamManager(await server.connect());
    const limits = { max_msgs: 10_000, discard: DiscardPolicy.New };
    const subjects = ['tallycast.feeder', 'tallycast.counts.*.*'];
    await manager.streams.add({ name: STREAM, subjects, max_msgs_per_subject: 1, ...limits });
    await store.change(10);
    startGateway();
    await untilCopied();
  });

  it('subjects that another stream has are reported', async () => {
    const manager = await jetstreamManager(await server.connect());
    await manager.streams.add({ name: 'OTHER', subjects: ['tallycast.counts.>'] });
    await store.change(10);
    const { warnings } = startGateway();
    await until(() => warnings.length > 0, 'the failure is reported');
    expect(warnings.join()).toContain('subjects overlap with an existing stream');
  });
});

async function readInfo() {
  const { streams } = await jetstreamManager(await server.connect());
  return await streams.info(STREAM);
}
