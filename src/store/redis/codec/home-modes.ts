import type { HomeMode } from '../../../counters/milestones.js';

/** Modes of homes; scripts and their arguments have the index. */
export const HOME_MODES: readonly HomeMode[] = ['order', 'strict', 'released'];
