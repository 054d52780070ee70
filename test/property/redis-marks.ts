import { chunkOf, hashOfKey, isFair } from './redis-chunks.js';

/** The marks of a bucket, of sessions or of visits. */
export interface MarkState {
  readonly generation: number;
  readonly marks: number;
  /** By generation. */
  readonly markChunks: ReadonlyMap<number, number>;
  readonly oldestGeneration: number;
}

export function markStateOf(
  fields: Readonly<Record<string, Buffer>>,
  kind: string,
  numbers: readonly number[],
): MarkState {
  const [generation, , marks, chunks, chunksBefore] = numbers as [number, number, number, number, number];
  const older = Object.entries(fields).flatMap(([field, value]): [number, number][] => {
    const [, number] = new RegExp(`^old_${kind}marks:(\\d+)$`).exec(field) ?? [];
    return number === undefined ? [] : [[Number(number), Number(value)]];
  });
  const markChunks = new Map([...older, [generation - 1, chunksBefore], [generation, chunks]]);
  return { generation, marks, markChunks, oldestGeneration: Number(fields[`oldest_${kind}marks`] ?? 1) };
}

/** Checks the two generations in use; older ones are being removed. */
export function checkMarks(
  of: string,
  { generation, marks: expected, markChunks, oldestGeneration }: MarkState,
  marks: ReadonlyMap<number, ReadonlyMap<number, readonly string[]>>,
  fault: (message: string) => void,
): void {
  const number = [...(marks.get(generation)?.values() ?? [])].reduce((sum, { length }) => sum + length, 0);
  if (number !== expected) fault(`has ${number} marks of ${of} instead of ${expected}`);
  const chunksNow = markChunks.get(generation)!;
  if (!isFair(expected, chunksNow)) fault(`${chunksNow} chunks for ${expected} marks of ${of}`);
  for (const [one, found] of marks) {
    if (one > generation || one < oldestGeneration) fault(`marks of ${of} of generation ${one}`);
    if (one < generation - 1) continue;
    const chunks = markChunks.get(one) ?? 1;
    for (const [chunk, keys] of found)
      for (const key of keys)
        if (chunkOf(hashOfKey(key), chunks) !== chunk) fault(`the mark of ${key}, of ${of}, stands in chunk ${chunk}`);
  }
}
