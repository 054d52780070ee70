import { expect, test } from '@jest/globals';
import { AsciiWriter } from '../common/ascii-writer.js';
import { Frame, FrameCache, EncodedUpdate } from './frame.js';

const [a, b, c] = ['{"post":"a"}', '{"post":"b"}', '{"post":"c"}'].map((text) => new EncodedUpdate(text)) as [
  EncodedUpdate,
  EncodedUpdate,
  EncodedUpdate,
];

test('a frame is the JSON array of its parts', () => {
  const frames = new FrameCache();
  expect(frames.frameFor([a]).body).toBe('[{"post":"a"}]');
  expect(frames.frameFor([b, a, c]).body).toBe('[{"post":"b"},{"post":"a"},{"post":"c"}]');
});

test('viewers that are due the same share a frame', () => {
  const frames = new FrameCache();
  expect(frames.frameFor([a])).toBe(new FrameCache().frameFor([a]));
  const [first, again] = [frames.frameFor([a, b]), frames.frameFor([a, b])];
  expect(again).toBe(first);
});

test('parts in another order, more or less of them are another frame', () => {
  const frames = new FrameCache();
  const bodies = [[a, b], [b, a], [a, b, c], [a, b], [c], [b, a]].map((parts) => frames.frameFor(parts).body);
  expect(bodies.map((body) => body.replaceAll(/[^abc]|post/g, ''))).toEqual(['ab', 'ba', 'abc', 'ab', 'c', 'ba']);
});

test('the bytes of a frame are those of its body', () => {
  const writer = new AsciiWriter();
  for (const parts of [[a], [a, b], [c, b, a]]) {
    const frame = new Frame(parts);
    expect(writer.toText(frame)).toBe(frame.body);
  }
});

test('a list of parts may be used again', () => {
  const frames = new FrameCache();
  const parts = [a, b];
  const frame = frames.frameFor(parts);
  parts.reverse();
  expect(frame.body).toBe('[{"post":"a"},{"post":"b"}]');
});
