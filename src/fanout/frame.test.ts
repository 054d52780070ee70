import { expect, test } from '@jest/globals';
import { AsciiWriter } from '../common/ascii-writer.js';
import { Frame, FrameCache, EncodedUpdate } from './frame.js';

const [a, b, c] = ['{"post":"a"}', '{"post":"b"}', '{"post":"c"}'].map((text) => new EncodedUpdate(text)) as [
  EncodedUpdate,
  EncodedUpdate,
  EncodedUpdate,
];

test('a frame is the JSON array of its updates', () => {
  const frames = new FrameCache();
  expect(frames.frameFor([a]).body).toBe('[{"post":"a"}]');
  expect(frames.frameFor([b, a, c]).body).toBe('[{"post":"b"},{"post":"a"},{"post":"c"}]');
});

test('viewers with the same due updates share a frame', () => {
  const frames = new FrameCache();
  expect(frames.frameFor([a])).toBe(new FrameCache().frameFor([a]));
  const [first, again] = [frames.frameFor([a, b]), frames.frameFor([a, b])];
  expect(again).toBe(first);
});

test('updates in another order or number make another frame', () => {
  const frames = new FrameCache();
  const bodies = [[a, b], [b, a], [a, b, c], [a, b], [c], [b, a]].map((updates) => frames.frameFor(updates).body);
  expect(bodies.map((body) => body.replaceAll(/[^abc]|post/g, ''))).toEqual(['ab', 'ba', 'abc', 'ab', 'c', 'ba']);
});

test('the bytes of a frame equal its body', () => {
  const writer = new AsciiWriter();
  for (const updates of [[a], [a, b], [c, b, a]]) {
    const frame = new Frame(updates);
    expect(writer.toText(frame)).toBe(frame.body);
  }
});

test('a list of updates may be changed after its frame was made', () => {
  const frames = new FrameCache();
  const updates = [a, b];
  const frame = frames.frameFor(updates);
  updates.reverse();
  expect(frame.body).toBe('[{"post":"a"},{"post":"b"}]');
});
