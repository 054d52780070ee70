import type { Cable, Cut } from './cables.js';
import type { Counts } from './regions.js';

/** The promise: this long after the mending all regions show the same. */
export const PROMISED_MS = 2_000;

export interface Phase {
  readonly title: string;
  readonly cut: (cable: Cable) => Cut | null;
}

/** In each phase all regions count; then they stop, what was cut is mended, and they have to agree. */
export const PHASES: readonly Phase[] = [
  { title: 'all three are connected', cut: () => null },
  { title: 'eu is cut off', cut: ({ from, to }) => (from === 'eu' || to === 'eu' ? 'refused' : null) },
  { title: 'us does not reach ap', cut: ({ from, to }) => (from === 'us' && to === 'ap' ? 'silent' : null) },
  { title: 'each is alone', cut: () => 'refused' },
];

/** How a phase ended. */
export interface PhaseResult {
  readonly title: string;
  /** Likes and views that the region that knew least did not know, just before the mending. */
  readonly apart: number;
  /** From the mending until all agreed; `null`: they did not. */
  readonly agreedMs: number | null;
  /** The counts that were acknowledged, and those that each region showed in the end. */
  readonly acknowledged: Counts;
  readonly shown: readonly (Counts & { readonly name: string })[];
}
