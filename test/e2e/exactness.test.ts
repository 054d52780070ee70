import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { MineEvent } from '../../src/protocol/messages.js';
import {
  type Client,
  closeClients,
  connect,
  expectOk,
  LedgerClient,
  emitWithoutAck,
  readTotals,
} from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';

const SCALE = Number(process.env['TEST_SCALE'] ?? 1);
const ACTORS = 250 * SCALE;
/** Actors at the same time; three times as many sockets are open. */
const ACTORS_AT_ONCE = 50;

/** For each ACTOR_KEYS: two actors, and a function for any number of others. */
const ACTORS_BY_KEYS = [
  ['hash', 'ada', 'bob', (i: number) => `actor-${i}`],
  ['int64', '-9223372036854775808', '9223372036854775807', String],
] as const;

describe.each(ACTORS_BY_KEYS)('counting with ACTOR_KEYS=%s', (ACTOR_KEYS, ada, bob, nameOf) => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    gateway = await startGateway({ ACTOR_KEYS, MAX_OPS_PER_CONNECTION: '0' });
  });

  afterAll(async () => {
    await closeClients();
    await stopAll();
  });

  it(`${ACTORS} likes of as many actors count once, each sent three times over different sockets with and without seq`, async () => {
    const post = 'thrice';
    const answers = { applied: 0, duplicate: 0, sent: 0 };
    const likeThrice = async (actor: string): Promise<void> => {
      const session = randomUUID();
      const sockets = [{ actor, session }, { actor, session }, { actor }].map((auth) => connect(gateway.url, auth));
      await Promise.all(
        sockets.map(async (socket, i) => {
          const like = i < 2 ? { post, seq: 1 } : { post };
          const { applied, duplicate, on } = expectOk(await socket.emitWithAck('like', like));
          expect(on).toBe(true);
          answers.sent += 1;
          if (applied) answers.applied += 1;
          if (duplicate) answers.duplicate += 1;
        }),
      );
      for (const socket of sockets) socket.close();
    };
    for (let first = 0; first < ACTORS; first += ACTORS_AT_ONCE) {
      await Promise.all(Array.from({ length: ACTORS_AT_ONCE }, (_, i) => likeThrice(nameOf(first + i))));
    }
    expect(answers).toEqual({ sent: 3 * ACTORS, applied: ACTORS, duplicate: ACTORS });
    expect(await readTotals(gateway.url, [post])).toEqual({ [post]: { likes: ACTORS, views: 0 } });
  });

  it('the last of a thousand likes and unlikes sent at once over one socket wins', async () => {
    for (const last of ['like', 'unlike'] as const) {
      const post = `wavering-${last}`;
      const socket = connect(gateway.url, { actor: ada });
      const events = Array.from({ length: 1_000 }, (_, i) => (i % 2 === 0) === (last === 'unlike')).map((liking) =>
        liking ? 'like' : 'unlike',
      );
      const answers = await Promise.all(events.map((event) => socket.emitWithAck(event, { post })));
      expect(answers.map((answer) => expectOk(answer).on)).toEqual(events.map((event) => event === 'like'));
      expect(events.at(-1)).toBe(last);
      expect(await seenBy(ada, post)).toEqual(last === 'like' ? { likes: 1, mine: ['likes'] } : { likes: 0, mine: [] });
    }
  });

  it('the last of a thousand likes and unlikes sent ten at a time over three sockets in turn wins', async () => {
    const post = 'three-tabs';
    const sockets = [0, 1, 2].map(() => connect(gateway.url, { actor: ada }));
    const events = ['unlike', 'like', 'unlike', 'like', 'unlike', 'like', 'unlike', 'like', 'unlike', 'like'] as const;
    for (let turn = 0; turn < 100; turn++) {
      const socket = sockets[turn % 3]!;
      const answers = await Promise.all(events.map((event) => socket.emitWithAck(event, { post })));
      expect(answers.map((answer) => expectOk(answer).on)).toEqual(events.map((event) => event === 'like'));
    }
    expect(await seenBy(ada, post)).toEqual({ likes: 1, mine: ['likes'] });
  });

  it('a seq counts once, even if two sockets send it several times', async () => {
    const post = 'twice';
    const session = randomUUID();
    const sockets = [connect(gateway.url, { session }), connect(gateway.url, { session })];
    const seqs = Array.from({ length: 100 }, (_, i) => i + 1);
    const answers = await Promise.all(
      sockets.flatMap((socket) => seqs.map((seq) => socket.emitWithAck('view', { post, seq }))),
    );
    const applied = answers.filter((answer) => expectOk(answer).applied);
    expect({ answers: answers.length, applied: applied.length }).toEqual({ answers: 200, applied: 100 });
    expect(await readTotals(gateway.url, [post])).toEqual({ [post]: { likes: 0, views: 100 } });
  });

  it('a seq counts once, even over a restart', async () => {
    const first = await startGateway({ ACTOR_KEYS });
    const auth = { actor: ada, session: randomUUID() };
    const before = connect(first.url, auth);
    expectOk(await before.emitWithAck('view', { post: 'kept', seq: 7 }));
    expectOk(await before.emitWithAck('like', { post: 'kept', seq: 8 }));
    before.close();
    await first.kill('SIGKILL');

    const second = await startGateway({ ACTOR_KEYS, DATA_DIR: first.dataDir });
    const after = connect(second.url, auth);
    for (const seq of [7, 8]) {
      const event = seq === 7 ? 'view' : 'like';
      const { applied, duplicate } = expectOk(await after.emitWithAck(event, { post: 'kept', seq }));
      expect({ seq, applied, duplicate }).toEqual({ seq, applied: false, duplicate: true });
    }
    expect(expectOk(await after.emitWithAck('view', { post: 'kept', seq: 9 })).applied).toBe(true);
    expect(await readTotals(second.url, ['kept'])).toEqual({ kept: { likes: 1, views: 2 } });
  });

  it('a repeated seq counts again without a session in the handshake', async () => {
    const socket = connect(gateway.url);
    for (let i = 0; i < 3; i++) {
      const { applied, duplicate } = expectOk(await socket.emitWithAck('view', { post: 'sessionless', seq: 1 }));
      expect({ applied, duplicate }).toEqual({ applied: true, duplicate: false });
    }
    expect(await readTotals(gateway.url, ['sessionless'])).toEqual({ sessionless: { likes: 0, views: 3 } });
  });

  it('the snapshot of a subscribe includes an earlier like that is not acknowledged yet', async () => {
    const socket = connect(gateway.url, { actor: ada });
    const post = 'behind';
    for (let i = 0; i < 50; i++) {
      const liking = i % 2 === 0;
      emitWithoutAck(socket, liking ? 'like' : 'unlike', { post });
      const { counts } = expectOk(await socket.emitWithAck('subscribe', { posts: [post] }));
      expect(counts[0]).toMatchObject({ likes: liking ? 1 : 0, mine: liking ? ['likes'] : [] });
      expectOk(await socket.emitWithAck('unsubscribe', { posts: [post] }));
    }
  });

  it('`mine` goes to the other connections of the actor only, in order', async () => {
    const post = 'tabs';
    const tabs = [0, 1, 2].map(() => connect(gateway.url, { actor: ada }));
    const strangers = [connect(gateway.url, { actor: bob }), connect(gateway.url)];
    const receivedBy = new Map<Client, MineEvent[]>();
    for (const socket of [...tabs, ...strangers]) {
      const events: MineEvent[] = [];
      receivedBy.set(socket, events);
      socket.on('mine', (event) => events.push(event));
      expectOk(await socket.emitWithAck('subscribe', { posts: [post] }));
    }
    for (const event of ['like', 'like', 'unlike'] as const) expectOk(await tabs[0]!.emitWithAck(event, { post }));
    // Events sent to a socket before this acknowledgement have arrived by now.
    for (const socket of receivedBy.keys()) expectOk(await socket.emitWithAck('unsubscribe', { posts: [post] }));
    const received = [true, false].map((on) => ({ post, metric: 'likes', on }));
    expect([...receivedBy.values()]).toEqual([[], received, received, [], []]);
  });

  it('no operation of a burst over the rate limit is lost if the client resends the rejected ones', async () => {
    const limited = await startGateway({ ACTOR_KEYS });
    const client = new LedgerClient(limited.url, ada);
    for (let i = 0; i < 120; i++) client.act({ event: 'view', post: 'rush' });
    await client.untilAcknowledged();
    expect(client.rejections).toBeGreaterThan(0);
    expect(await readTotals(limited.url, ['rush'])).toEqual({ rush: { likes: 0, views: 120 } });
  });

  async function seenBy(actor: string, post: string): Promise<{ likes: unknown; mine: readonly string[] }> {
    const socket = connect(gateway.url, { actor });
    const { counts } = expectOk(await socket.emitWithAck('subscribe', { posts: [post] }));
    socket.close();
    const { likes, mine } = counts[0]!;
    return { likes, mine };
  }
});
