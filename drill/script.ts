import type { Cable, Cut } from './cables.js';
import type { Counts } from './regions.js';

/** All regions must show the same counts this long after the cables are mended. */
export const PROMISED_MS = 2_000;

export interface Phase {
  readonly title: string;
  readonly cut: (cable: Cable) => Cut | null;
}

/** In each phase all regions count; then they stop, the cables are mended, and the regions must agree. */
export const PHASES: readonly Phase[] = [
  { title: 'all three are connected', cut: () => null },
  { title: 'eu is cut off', cut: ({ from, to }) => (from === 'eu' || to === 'eu' ? 'refused' : null) },
  { title: 'us does not reach ap', cut: ({ from, to }) => (from === 'us' && to === 'ap' ? 'silent' : null) },
  { title: 'each is alone', cut: () => 'refused' },
];

/** The outcome of a phase. */
export interface PhaseResult {
  readonly title: string;
  /** Likes and views missing in the region that lacked most, just before the mending. */
  readonly apart: number;
  /** Time from the mending until all agreed; `null` if they did not. */
  readonly agreedMs: number | null;
  /** The acknowledged counts, and those that each region showed at the end. */
  readonly acknowledged: Counts;
  readonly shown: readonly (Counts & { readonly name: string })[];
}
