import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { LIMIT_MS } from '../property/runs.js';
import { closeClients } from '../support/clients.js';
import { stopAll } from '../support/gateway-process.js';
import { Polling } from '../support/polling.js';
import { encodeFrame, RawSocket } from '../support/raw-socket.js';
import { Books, expectError } from './fuzz/books.js';
import { type Effect, parseExpected } from './fuzz/expected.js';
import { frames } from './fuzz/frames.js';
import { fuzzInBatches, SEED } from './fuzz/fuzzing.js';
import { GatewayUnderFuzz } from './fuzz/gateway-under-fuzz.js';
import { KEPT } from './fuzz/kept-inputs.js';
import { bodies, packets } from './fuzz/packets.js';

const A_CONNECTION = 8;
/** Characters of a packet: below the 16 KiB of a message, even if all are multi-byte. */
const EVENT_MAX = 4_096;
/** An acknowledgement id that no packet of the fuzz has. */
const BARRIER = 888_888_888_888;
/** Statuses of Engine.IO for bodies: accepted, rejected, too large. */
const POLLING_STATUSES = [200, 400, 413];

interface Answer {
  readonly ok: boolean;
  readonly applied?: boolean;
  readonly error?: unknown;
}

let gateway: GatewayUnderFuzz;
const books = new Books();
let sessions = 0;

beforeAll(async () => {
  gateway = await GatewayUnderFuzz.start();
});

afterAll(async () => {
  await closeClients();
  await stopAll();
});

/** Collects acknowledgements by id. All other packets of the gateway must be JSON. */
class Answers {
  readonly #byId = new Map<number, Answer[]>();
  readonly malformed: string[] = [];

  take(packet: string): void {
    try {
      // The only packet for another namespace is the error that it does not exist.
      const [, type, id, json] = /^(\d)(?:\/[^,]*,)?(\d*)(.*)$/s.exec(packet)!;
      const content: unknown = json === '' ? null : JSON.parse(json!);
      if (type === '3') this.of(Number(id)).push((content as [Answer])[0]);
    } catch {
      this.malformed.push(packet);
    }
  }

  of(id: number): Answer[] {
    let answers = this.#byId.get(id);
    if (answers === undefined) this.#byId.set(id, (answers = []));
    return answers;
  }
}

/** Sends all packets in one write. @returns their acknowledgements, and whether the connection stayed open */
async function answersTo(raw: RawSocket, sent: readonly string[]): Promise<{ answers: Answers; isOpen: boolean }> {
  const answers = new Answers();
  raw.onPacket = (packet) => answers.take(packet);
  const barrier = raw.nextMessage((text) => text.startsWith(`43${BARRIER}[`));
  const all = [...sent, `2${BARRIER}["unsubscribe",{"posts":["fuzz"]}]`];
  raw.write(Buffer.concat(all.map((packet) => encodeFrame(`4${packet}`))));
  const isOpen = await barrier.then(
    () => true,
    () => false,
  );
  raw.destroy();
  return { answers, isOpen };
}

/** Eight events share a connection, which must stay open. A packet that may end its connection has its own. */
function connectionsFor(inputs: readonly string[]): string[][] {
  const [events, others] = [inputs.filter(isEvent), inputs.filter((packet) => !isEvent(packet))];
  const groups = others.map((packet) => [packet]);
  for (let at = 0; at < events.length; at += A_CONNECTION) groups.push(events.slice(at, at + A_CONNECTION));
  return groups;
}

/** Whether the packet requests an acknowledgement and can get one. */
function isEvent(packet: string): boolean {
  const id = parseExpected(packet)?.id;
  return typeof id === 'number' && Number.isSafeInteger(id) && packet.length <= EVENT_MAX;
}

async function givePackets(sent: readonly string[]): Promise<void> {
  const session = `fuzz-session-${++sessions}`;
  const raw = await RawSocket.connect(gateway.url, JSON.stringify({ session }));
  const { answers, isOpen } = await answersTo(raw, sent);
  expect(answers.malformed).toEqual([]);
  if (sent.every(isEvent)) expect({ sent, isOpen }).toEqual({ sent, isOpen: true });
  const effects = new Map<number, (Effect | null)[]>();
  for (const packet of sent) {
    const expected = parseExpected(packet);
    if (expected === null) continue;
    const { id, effect } = expected;
    if (id !== null) effects.set(id, [...(effects.get(id) ?? []), effect]);
    // The only operation of its connection, so it is neither a duplicate nor without effect.
    else if (effect !== null && isOpen) books.acknowledged(effect, effect.by > 0);
    else if (effect !== null) books.unknown(effect);
  }
  for (const [id, expected] of effects) {
    const given = answers.of(id);
    if (isOpen) expect(given.length).toBeGreaterThanOrEqual(expected.length);
    enter(expected, given);
  }
}

/** An operation is counted if and only if it is valid. */
function enter(expected: readonly (Effect | null)[], given: readonly Answer[]): void {
  for (const { ok, error } of given) if (!ok) expectError(error);
  const [effect] = expected;
  const [answer] = given;
  if (expected.length > 1 || given.length !== 1) {
    // With two operations of one id the acknowledgements are ambiguous.
    for (const one of expected) if (one !== null) books.unknown(one);
  } else if (effect == null) {
    expect(answer).not.toHaveProperty('applied');
  } else {
    expect(answer).toHaveProperty('applied');
    books.acknowledged(effect, answer!.applied === true);
  }
}

/** Sends frames on a connection that is new, has its socket, or upgrades a session of long-polling. */
async function giveFrames(frames: readonly Buffer[], turn: number): Promise<void> {
  const polling = turn % 3 === 0 ? await Polling.connect(gateway.url) : null;
  const raw = polling !== null ? await upgradeOf(polling) : await newSocket(turn);
  const answers = new Answers();
  raw.onPacket = (packet) => answers.take(packet);
  for (const frame of frames) {
    raw.write(frame);
    await new Promise((resolve) => void setImmediate(resolve));
  }
  raw.socket.end();
  await raw.closed;
  await polling?.send('1');
  expect(answers.malformed).toEqual([]);
}

function upgradeOf({ url }: Polling): Promise<RawSocket> {
  const sid = new URL(url).searchParams.get('sid')!;
  return RawSocket.open(gateway.url, `/socket.io/?EIO=4&transport=websocket&sid=${sid}`);
}

function newSocket(turn: number): Promise<RawSocket> {
  return turn % 2 === 0 ? RawSocket.open(gateway.url) : RawSocket.connect(gateway.url);
}

async function giveBody(body: Buffer, turn: number): Promise<void> {
  const polling = turn % 2 === 0 ? await Polling.open(gateway.url) : await Polling.connect(gateway.url);
  const { status } = await polling.post(body);
  expect(POLLING_STATUSES).toContain(status);
  // Ends the session unless it has ended already.
  await polling.send('1');
}

describe(`fuzzed packets and frames (TEST_SEED=${SEED})`, () => {
  it(
    'fuzzed packets of Socket.IO get a reply, and valid ones are committed',
    async () => {
      await fuzzInBatches(5_000, packets, KEPT.packets, async (inputs) => {
        await Promise.all(connectionsFor(inputs).map(givePackets));
        await gateway.expectHonestService();
      });
      await books.expectCounts(gateway.url);
    },
    LIMIT_MS,
  );

  it(
    'fuzzed frames of WebSocket end their connection or get a reply',
    async () => {
      await fuzzInBatches(600, frames, [], async (inputs) => {
        await Promise.all(inputs.map(giveFrames));
        await gateway.expectHonestService();
      });
    },
    LIMIT_MS,
  );

  it(
    'fuzzed bodies of long-polling end their session or are accepted',
    async () => {
      await fuzzInBatches(300, bodies, [], async (inputs) => {
        await Promise.all(inputs.map(giveBody));
        await gateway.expectHonestService();
      });
    },
    LIMIT_MS,
  );

  it('fuzzed packets leave no memory and no log lines behind', () => gateway.expectNothingLeft(), LIMIT_MS);
});
