import type { Cable, Cut } from './cables.js';

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
