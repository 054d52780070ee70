/**
 * Incarnations are numbered by the time when they begin, in 64ths of a second since 2024. If they were only counted, two replicas that
 * are promoted one after the other, the second without the entries of the first, would use the same offsets.
 */
export const INCARNATIONS_A_SECOND = 2 ** 6;
/** Offsets of one incarnation in a partition. Incarnations have 37 of 53 bits then: 68 years. */
export const OFFSETS_PER_INCARNATION = 2 ** 16;

/** @param id of an entry in its stream: `incarnation-n` */
export function toOffset(id: string): number {
  const [incarnation, n] = id.split('-').map(Number) as [number, number];
  return incarnation * OFFSETS_PER_INCARNATION + n;
}

export function toStreamId(offset: number): string {
  return `${Math.floor(offset / OFFSETS_PER_INCARNATION)}-${offset % OFFSETS_PER_INCARNATION}`;
}
