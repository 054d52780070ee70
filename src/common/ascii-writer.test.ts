import { describe, expect, it } from '@jest/globals';
import { AsciiWriter } from './ascii-writer.js';

function written(write: (writer: AsciiWriter) => void): string {
  return new AsciiWriter().toText({ writeTo: write });
}

describe('a writer of ASCII', () => {
  it('a writer formats integers as JSON does', () => {
    const values = [0, 1, 9, 10, 99, 100, 12_345, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 53 - 1];
    for (let power = 1; power < 2 ** 53; power *= 10) values.push(power, power - 1, power + 1);
    for (const value of values) expect(written((writer) => void writer.integer(value))).toBe(String(value));
  });

  it('a writer appends texts of any length', () => {
    const texts = [0, 1, 64, 65, 1_000, 65_536, 200_000].map((length) => 'abc'.repeat(length).slice(0, length));
    const all = written((writer) => texts.forEach((text) => writer.text(text).raw(Buffer.from(text)).integer(7)));
    expect(all === texts.map((text) => `${text}${text}7`).join('')).toBe(true);
  });

  it('a writer is empty after its bytes were taken, even if it had grown', () => {
    const writer = new AsciiWriter();
    const long = 'x'.repeat(300_000);
    expect(writer.text(long).take().toString()).toBe(long);
    const first = writer.text('first').take();
    const second = writer.text('second').take();
    expect([first.toString(), second.toString()]).toEqual(['first', 'second']);
  });
});
