import type { ScriptConstants } from '../../../store/redis/scripts/script-constants.js';
import { LOG_PARTITIONS } from '../../event-log.js';
import { INCARNATIONS_A_SECOND, OFFSETS_PER_INCARNATION } from '../log-offset.js';

/** The constants that Lua files of the log may name after `-- @constants`. */
export const LOG_CONSTANTS: ScriptConstants = {
  LOG_PARTITIONS,
  OFFSETS_PER_INCARNATION,
  INCARNATIONS_A_SECOND,
  INCARNATION_MAX: 2 ** 53 / OFFSETS_PER_INCARNATION - 1,
  FIRST_INCARNATION_S: Date.UTC(2024) / 1_000,
};
