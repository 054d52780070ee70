import type { HomeMode } from '../../../counters/milestones.js';

/** Modes of homes; scripts and their arguments have the index. */
export const HOME_MODES: readonly HomeMode[] = ['order', 'strict', 'released'];

/** @throws RangeError unless it is the index of a mode */
export function modeAt(index: number): HomeMode {
  const mode = HOME_MODES[index];
  if (mode === undefined) throw new RangeError(`${index} is not the index of a mode of a home`);
  return mode;
}
