import { expect, test } from '@jest/globals';
import { AsciiWriter } from '../common/ascii-writer.js';
import { Frame, Frames, Part } from './frame.js';

const [a, b, c] = ['{"post":"a"}', '{"post":"b"}', '{"post":"c"}'].map((text) => new Part(text)) as [Part, Part, Part];

test('a frame is the JSON array of its parts', () => {
  const frames = new Frames();
  expect(frames.of([a]).body).toBe('[{"post":"a"}]');
  expect(frames.of([b, a, c]).body).toBe('[{"post":"b"},{"post":"a"},{"post":"c"}]');
});

test('viewers that are due the same share a frame', () => {
  const frames = new Frames();
  expect(frames.of([a])).toBe(new Frames().of([a]));
  const [first, again] = [frames.of([a, b]), frames.of([a, b])];
  expect(again).toBe(first);
});

test('parts in another order, more or less of them are another frame', () => {
  const frames = new Frames();
  const bodies = [[a, b], [b, a], [a, b, c], [a, b], [c], [b, a]].map((parts) => frames.of(parts).body);
  expect(bodies.map((body) => body.replaceAll(/[^abc]|post/g, ''))).toEqual(['ab', 'ba', 'abc', 'ab', 'c', 'ba']);
});

test('the bytes of a frame are those of its body', () => {
  const writer = new AsciiWriter();
  for (const parts of [[a], [a, b], [c, b, a]]) {
    const frame = new Frame(parts);
    expect(writer.only(frame)).toBe(frame.body);
  }
});

test('a list of parts may be used again', () => {
  const frames = new Frames();
  const parts = [a, b];
  const frame = frames.of(parts);
  parts.reverse();
  expect(frame.body).toBe('[{"post":"a"},{"post":"b"}]');
});
