import { expect, test } from '@jest/globals';
import { SimulatedClock } from '../../../test/simulation/simulated-clock.js';
import { RemoteSubscribers } from './remote-subscribers.js';

/** A channel to which this gateway and `others` subscribe. */
function world() {
  const clock = new SimulatedClock();
  const sent: string[] = [];
  const state = { others: 0, isDown: false, isSubscribed: true };
  const replies: (() => void)[] = [];
  const publish = (_channel: string, message: string | Buffer): Promise<number> => {
    if (state.isDown) return Promise.reject(new Error('down'));
    sent.push(String(message));
    const reached = state.others + (state.isSubscribed ? 1 : 0);
    return new Promise((resolve) => replies.push(() => resolve(reached)));
  };
  const cache = new RemoteSubscribers(clock, publish, () => state.isSubscribed);
  const reply = (): void => replies.splice(0).forEach((one) => one());
  const send = async (...messages: string[]): Promise<void> => {
    for (const message of messages) {
      const settled = cache.send('c', message);
      reply();
      await settled;
    }
  };
  return { cache, clock, sent, state, reply, send };
}

test('a channel with other subscribers gets every message', async () => {
  const { cache, sent, state, send } = world();
  state.others = 1;
  await send('a', 'b', 'c');
  expect(sent).toEqual(['a', 'b', 'c']);
  expect(cache.hasRemoteSubscribers('c')).toBe(true);
});

test('a channel without other subscribers gets one message, and no other until a gateway subscribes', async () => {
  const { cache, sent, state, send } = world();
  await send('a', 'b', 'c');
  expect(sent).toEqual(['a']);
  expect(cache.hasRemoteSubscribers('c')).toBe(false);
  state.others = 1;
  cache.invalidate('c');
  await send('d', 'e');
  expect(sent).toEqual(['a', 'd', 'e']);
});

test('other channels keep their subscribers', async () => {
  const { cache, send } = world();
  await send('a');
  expect(cache.hasRemoteSubscribers('d')).toBe(true);
});

test('a channel gets no more messages after the last other subscriber has left', async () => {
  const { sent, state, send } = world();
  state.others = 1;
  await send('a', 'b');
  state.others = 0;
  await send('c', 'd');
  expect(sent).toEqual(['a', 'b', 'c']);
});

test('a lost hello delays messages by a minute at most', async () => {
  const { clock, sent, state, send } = world();
  await send('a');
  state.others = 1;
  await clock.advance(59_000);
  await send('b');
  await clock.advance(1_000);
  await send('c', 'd');
  expect(sent).toEqual(['a', 'c', 'd']);
});

test('a gateway whose hello arrives while a message is on its way gets the next message', async () => {
  const { cache, sent, state, reply, send } = world();
  const first = cache.send('c', 'a');
  state.others = 1;
  cache.invalidate('c');
  reply();
  await first;
  await send('b');
  expect(sent).toEqual(['a', 'b']);
});

test('the reply to a message before a hello does not count when another message follows the hello', async () => {
  const { cache, sent, state, reply, send } = world();
  const first = cache.send('c', 'a');
  state.others = 1;
  cache.invalidate('c');
  const second = cache.send('c', 'b');
  reply();
  await Promise.all([first, second]);
  await send('c');
  expect(sent).toEqual(['a', 'b', 'c']);
});

test('a channel to which the gateway does not subscribe gets every message', async () => {
  const { sent, state, send } = world();
  state.isSubscribed = false;
  await send('a', 'b');
  expect(sent).toEqual(['a', 'b']);
});

test('a message that could not be published leaves the subscribers unknown', async () => {
  const { cache, sent, state, send } = world();
  state.isDown = true;
  await send('a');
  expect(cache.hasRemoteSubscribers('c')).toBe(true);
  state.isDown = false;
  await send('b', 'c');
  expect(sent).toEqual(['b']);
});
