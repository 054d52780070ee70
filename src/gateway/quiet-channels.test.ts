import { expect, test } from '@jest/globals';
import { SimulatedClock } from '../../test/simulation/simulated-clock.js';
import { QuietChannels } from './quiet-channels.js';

/** A channel with this gateway and `others` on it. */
function world() {
  const clock = new SimulatedClock();
  const sent: string[] = [];
  const state = { others: 0, away: false, sending: (): void => undefined };
  const publish = (_channel: string, message: string | Buffer): Promise<number> => {
    if (state.away) return Promise.reject(new Error('away'));
    sent.push(String(message));
    const { sending } = state;
    state.sending = () => undefined;
    sending();
    return Promise.resolve(1 + state.others);
  };
  const channels = new QuietChannels(clock, publish, () => 1);
  const send = async (...messages: string[]): Promise<void> => {
    for (const message of messages) await channels.send('c', message);
  };
  return { clock, sent, state, send };
}

test('with others on a channel every message goes out at once', async () => {
  const { sent, state, send } = world();
  state.others = 1;
  await send('a', 'b', 'c');
  expect(sent).toEqual(['a', 'b', 'c']);
});

test('with nobody else there is one message a second, and none without news', async () => {
  const { clock, sent, send } = world();
  for (let i = 0; i < 100; i++) {
    await send(`m${i}`);
    await clock.advance(50);
  }
  expect(sent.length).toBeGreaterThanOrEqual(5);
  expect(sent.length).toBeLessThanOrEqual(6);
  await clock.advance(10_000);
  const { length } = sent;
  await clock.advance(10_000);
  expect(sent).toHaveLength(length);
  expect(clock.timers).toBe(0);
});

test('who comes is told of all that was held back, in order, and of the next at once', async () => {
  const { clock, sent, state, send } = world();
  await send('a', 'b', 'c');
  expect(sent).toEqual(['a']);
  state.others = 1;
  await clock.advance(1_000);
  expect(sent).toEqual(['a', 'b', 'c']);
  await send('d');
  expect(sent.at(-1)).toBe('d');
});

test('what is sent while the channel is asked comes behind what was held back', async () => {
  const { clock, sent, state, send } = world();
  await send('a', 'b', 'c');
  state.others = 1;
  state.sending = () => void send('d');
  await clock.advance(1_000);
  expect(sent).toEqual(['a', 'b', 'c', 'd']);
});

test('no more than 64 messages are held back', async () => {
  const { sent, send } = world();
  await send('first', ...Array.from({ length: 64 }, (_, i) => `m${i}`));
  expect(sent).toEqual(['first', 'm0']);
});

test('a message that could not be published makes no channel quiet', async () => {
  const { sent, state, send } = world();
  state.away = true;
  await send('a');
  state.away = false;
  state.others = 1;
  await send('b', 'c');
  expect(sent).toEqual(['b', 'c']);
});
