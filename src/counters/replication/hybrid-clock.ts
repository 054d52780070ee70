import { fnv1a } from '../../common/hash.js';

/**
 * Stamps order the changes of all regions: hybrid logical clocks (Kulkarni, Demirbas, Madappa, Avva, Leone: "Logical physical clocks",
 * OPODIS 2014) in one integer below 2^53, so that comparing two stamps is comparing two numbers:
 *
 *     40 bits: ms since 2024 (they last until 2058)   5 bits: counter within it   8 bits: number of the region
 *
 * A clock that received a stamp of a region whose clock runs ahead carries from its counter into its milliseconds. A batch has one stamp:
 * of several updates that it makes to one toggle, the last one counts.
 */

/** 2024-01-01, in milliseconds since 1970. */
export const SINCE_MS = 1_704_067_200_000;
export const STEPS_PER_MS = 32;
export const REGION_NUMBERS = 256;
export const STAMPS_PER_MS = STEPS_PER_MS * REGION_NUMBERS;

/** The least stamp after `clock` that is not before the wall time. @param region number of the region that gives it */
export function nextStamp(clock: number, wallMs: number, region: number): number {
  const next = Math.max(Math.floor(clock / REGION_NUMBERS) + 1, (wallMs - SINCE_MS) * STEPS_PER_MS);
  return next * REGION_NUMBERS + region;
}

/** Wall time of a stamp, ms since 1970. */
export function toWallMs(stamp: number): number {
  return SINCE_MS + Math.floor(stamp / STAMPS_PER_MS);
}

/** The stamp before all others of this wall time, of any region. */
export function firstStampAt(wallMs: number): number {
  return Math.max(wallMs - SINCE_MS, 0) * STAMPS_PER_MS;
}

/** The number by which the stamps of regions differ, 0 to 255. Regions of one deployment must not share one. */
export function toRegionNumber(region: string): number {
  const h = fnv1a(region);
  return (h ^ (h >>> 8) ^ (h >>> 16) ^ (h >>> 24)) & 0xff;
}

/** The number of the region that gave the stamp. */
export function readRegionNumber(stamp: number): number {
  return stamp % REGION_NUMBERS;
}
