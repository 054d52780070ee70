import { expect, test } from '@jest/globals';
import { SimulatedClock } from '../../../test/simulation/simulated-clock.js';
import { SubscriberCache } from './subscriber-cache.js';

/** A channel with this gateway and `others` on it. */
function world() {
  const clock = new SimulatedClock();
  const sent: string[] = [];
  const state = { others: 0, away: false, listens: true };
  const answers: (() => void)[] = [];
  const publish = (_channel: string, message: string | Buffer): Promise<number> => {
    if (state.away) return Promise.reject(new Error('away'));
    sent.push(String(message));
    const reached = state.others + (state.listens ? 1 : 0);
    return new Promise((resolve) => answers.push(() => resolve(reached)));
  };
  const channels = new SubscriberCache(clock, publish, () => state.listens);
  const answer = (): void => answers.splice(0).forEach((one) => one());
  const send = async (...messages: string[]): Promise<void> => {
    for (const message of messages) {
      const settled = channels.send('c', message);
      answer();
      await settled;
    }
  };
  return { channels, clock, sent, state, answer, send };
}

test('with others on a channel every message goes out', async () => {
  const { channels, sent, state, send } = world();
  state.others = 1;
  await send('a', 'b', 'c');
  expect(sent).toEqual(['a', 'b', 'c']);
  expect(channels.isQuiet('c')).toBe(false);
});

test('with nobody else one message goes out, and no other until somebody comes', async () => {
  const { channels, sent, state, send } = world();
  await send('a', 'b', 'c');
  expect(sent).toEqual(['a']);
  expect(channels.isQuiet('c')).toBe(true);
  state.others = 1;
  channels.invalidate('c');
  await send('d', 'e');
  expect(sent).toEqual(['a', 'd', 'e']);
});

test('other channels are none the quieter', async () => {
  const { channels, send } = world();
  await send('a');
  expect(channels.isQuiet('d')).toBe(false);
});

test('a channel is asked again when the last other has left', async () => {
  const { sent, state, send } = world();
  state.others = 1;
  await send('a', 'b');
  state.others = 0;
  await send('c', 'd');
  expect(sent).toEqual(['a', 'b', 'c']);
});

test('a greeting that was lost is made up for after a minute', async () => {
  const { clock, sent, state, send } = world();
  await send('a');
  state.others = 1;
  await clock.advance(59_000);
  await send('b');
  await clock.advance(1_000);
  await send('c', 'd');
  expect(sent).toEqual(['a', 'c', 'd']);
});

test('who greets while a message is on its way hears the next', async () => {
  const { channels, sent, state, answer, send } = world();
  const first = channels.send('c', 'a');
  state.others = 1;
  channels.invalidate('c');
  answer();
  await first;
  await send('b');
  expect(sent).toEqual(['a', 'b']);
});

test('of two messages on their way before and behind a greeting the second decides', async () => {
  const { channels, sent, state, answer, send } = world();
  const first = channels.send('c', 'a');
  state.others = 1;
  channels.invalidate('c');
  const second = channels.send('c', 'b');
  answer();
  await Promise.all([first, second]);
  await send('c');
  expect(sent).toEqual(['a', 'b', 'c']);
});

test('where the gateway does not listen itself everything goes out', async () => {
  const { sent, state, send } = world();
  state.listens = false;
  await send('a', 'b');
  expect(sent).toEqual(['a', 'b']);
});

test('a message that could not be published says nothing about who listens', async () => {
  const { channels, sent, state, send } = world();
  state.away = true;
  await send('a');
  expect(channels.isQuiet('c')).toBe(false);
  state.away = false;
  await send('b', 'c');
  expect(sent).toEqual(['b']);
});
