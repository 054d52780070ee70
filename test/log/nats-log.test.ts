import { randomBytes } from 'node:crypto';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type LogEntry, LogFullError } from '../../src/log/event-log.js';
import { NatsLog } from '../../src/log/nats/nats-log.js';
import { patientClock } from '../support/patient-clock.js';
import { type NatsServer, startNats, stopNats } from '../support/nats-server.js';
import { until } from '../support/until.js';
import { describeLog, entry, EVENTS_MAX, readAll, readPayloads } from './event-log.contract.js';

const STREAM = 'EVENTS';

const opened: NatsLog[] = [];
const warnings: string[] = [];
let server: NatsServer;

beforeAll(async () => {
  server = await startNats();
});
afterEach(() => Promise.all(opened.splice(0).map((log) => log.close())));
afterAll(stopNats);

async function openLog({ bytesMax = 50_000_000 } = {}): Promise<NatsLog> {
  const connection = await connect({
    servers: `127.0.0.1:${server.port}`,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 20,
  });
  const log = await NatsLog.open(connection, {
    stream: STREAM,
    url: server.url,
    eventsMax: EVENTS_MAX,
    bytesMax,
    clock: patientClock,
    newName: () => randomBytes(8).toString('hex'),
    warn: (message) => warnings.push(message),
  });
  opened.push(log);
  return log;
}

async function deleteStreams(): Promise<void> {
  const { streams } = await jetstreamManager(await server.connect());
  for (const name of [STREAM, `${STREAM}_STATE`]) await streams.delete(name).catch(() => undefined);
}

describeLog('the NATS log', async () => {
  await deleteStreams();
  return { log: await openLog(), empty: deleteStreams, close: () => Promise.resolve() };
});
describe('a NATS log', () => {
  it('a log loses nothing when its server is killed, and goes on by itself', async () => {
    await deleteStreams();
    const log = await openLog();
    await log.append([entry(0, 'first'), entry(1, 'first')]);
    await log.append([entry(0, 'second')]);
    const [page] = await log.read([{ partition: 0, after: 0 }], 1);
    await server.kill();
    await until(() => !log.available, 'sees that the server is away');
    await expect(log.append([entry(0, 'lost')])).rejects.toThrow('NATS is not connected');
    await server.restart();
    await until(() => log.available, 'is connected again');
    expect(warnings.splice(0)).toEqual([`${server.url}: connection lost`, `${server.url}: connected`]);
    await log.append([entry(0, 'third')]);
    expect(await readPayloads(log, 0, page!.entries[0]!.offset)).toEqual(['second', 'third']);
    expect(await readPayloads(log, 1)).toEqual(['first']);
  });

  it('two gateways append at once, and each entry has an offset of its own', async () => {
    await deleteStreams();
    const logs = [await openLog(), await openLog()];
    expect((await logs[0]!.status()).log).toBe((await logs[1]!.status()).log);
    await Promise.all(
      logs.flatMap((log) => Array.from({ length: 20 }, (_, i) => log.append([entry(0, String(i), 2)]))),
    );
    const { entries } = await readAll(logs[0]!, 0);
    expect(new Set(entries.map(({ offset }) => offset)).size).toBe(40);
    expect((await logs[1]!.status()).partitions[0]).toMatchObject({ events: 80 });
  });

  it('reads of a partition at the same time skip no entry', async () => {
    await deleteStreams();
    const log = await openLog();
    const payloads = Array.from({ length: 20 }, (_, i) => String(i));
    for (const payload of payloads) await log.append([entry(0, payload)]);
    for (let i = 0; i < 20; i++) {
      // As of a reader, and of an operator who asks how old its next event is.
      const [page] = await Promise.all([readPayloads(log, 0), log.read([{ partition: 0, after: 0 }], 1)]);
      expect(page).toEqual(payloads);
      const [other] = (await Promise.all([log.read([{ partition: 0, after: 0 }], 1), readPayloads(log, 0)])).reverse();
      expect(other).toEqual(payloads);
    }
  });

  it('a read skips no entry that the server has sent and the log has not received', async () => {
    await deleteStreams();
    const log = await openLog();
    await log.append([entry(0, 'first')]);
    const [{ offset }] = (await readAll(log, 0)).entries as [LogEntry];
    for (const payload of ['second', 'third']) await log.append([entry(0, payload)]);
    // As if the connection was lost meanwhile.
    const connection = await server.connect();
    const manager = await jetstreamManager(connection);
    for await (const { name } of manager.consumers.list(STREAM)) {
      await (await jetstream(connection).consumers.get(STREAM, name)).next();
    }
    await expect(readPayloads(log, 0, offset)).rejects.toThrow('the connection to NATS was lost during a read');
    expect(await readPayloads(log, 0, offset)).toEqual(['second', 'third']);
  });

  it('messages of others in its subjects hold up neither appends nor reads', async () => {
    await deleteStreams();
    const log = await openLog();
    const connection = await server.connect();
    for (const suffix of ['0.many', '0.1e999', '0.-5', '99.1', 'x.y']) {
      await jetstream(connection).publish(`tallycast_log.${STREAM}.entries.${suffix}`, 'foreign');
    }
    await log.append([entry(0, 'own', 2)]);
    expect(await readPayloads(log, 0)).toEqual(['foreign', 'foreign', 'foreign', 'own']);
    expect((await log.status()).partitions).toHaveLength(16);
  });

  it('a limit of bytes that is reached between two refreshes rejects as a full log does', async () => {
    await deleteStreams();
    const log = await openLog({ bytesMax: 1_000 });
    await log.append([entry(0, 'x'.repeat(800))]);
    await expect(log.append([entry(0, 'x'.repeat(800))])).rejects.toBeInstanceOf(LogFullError);
    expect(await readPayloads(log, 0)).toHaveLength(1);
  });

  it('a stream that came back without messages whose events are counted is not read', async () => {
    await deleteStreams();
    const log = await openLog();
    for (let i = 0; i < 3; i++) await log.append([entry(0, String(i))]);
    const { entries } = await readAll(log, 0);
    const { streams } = await jetstreamManager(await server.connect());
    const { config } = await streams.info(STREAM);
    await streams.delete(STREAM);
    await streams.add(config);
    await log.append([entry(0, 'other')]);
    await expect(readPayloads(log, 0, entries[2]!.offset)).rejects.toThrow(
      'the stream EVENTS ends at 1, but events up to 3 of it are counted',
    );
  });

  it('a stream that would lose entries is rejected', async () => {
    await deleteStreams();
    const { streams } = await jetstreamManager(await server.connect());
    const subjects = [`tallycast_log.${STREAM}.entries.*.*`];
    await streams.add({ name: STREAM, subjects, description: 'tallycast log 1', max_msgs: 5, max_age: 1e12 });
    await expect(openLog()).rejects.toThrow(
      'the stream EVENTS does not keep every entry: max_age is not 0, it has a limit and discard is old; mend it, or name another stream',
    );
    await streams.delete(STREAM);
    await streams.add({ name: STREAM, subjects });
    await expect(openLog()).rejects.toThrow('the stream EVENTS is not a log of this program; name another stream');
  });
});
