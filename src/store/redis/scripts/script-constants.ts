import {
  MARK_GENERATION_MAX,
  MARK_GENERATION_MS,
  TIME_AHEAD_MAX_MS,
  VISIT_MARKS_MAX,
} from '../../../counters/bucket.js';
import {
  ENTRIES_PER_SEQ,
  FEED_WITH_MEMBERS_MAX,
  SEQ_BEFORE_FIRST,
  STARTS_MAX,
  SUM_MODULUS,
} from '../../../counters/changed-posts.js';
import {
  ARMED_MAX,
  ARMED_PER_BUCKET_MAX,
  MERGED_RECORDS_MAX,
  MILESTONE_FINAL_MS,
  MILESTONES_MAX,
} from '../../../counters/milestones.js';
import {
  APPLIED,
  DUPLICATE,
  ELSEWHERE,
  ON,
  REACHED,
  SWITCHED,
  SWITCHED_FROM_BIT,
  SWITCHED_FROM_SEVERAL,
} from '../../../counters/operation.js';
import { COUNT_MAX, INCARNATIONS_MAX, REGIONS_MAX } from '../../../counters/pn-counter.js';
import { TOGGLES_PER_STAMP } from '../../../counters/replication/build-delta.js';
import { HOPS_MAX } from '../../../counters/replication/forwarded-operation.js';
import { FORMER_HOMES_MAX } from '../../../counters/replication/home-exchange.js';
import { HOME_NUMBER_JUMP_MAX } from '../../../counters/replication/home-rules.js';
import { FEED_MAX } from '../../../counters/change-feed.js';
import { REGION_NUMBERS, SINCE_MS, STEPS_PER_MS } from '../../../counters/replication/hybrid-clock.js';
import { PREDECESSORS_MAX } from '../../../counters/replication/replication-state.js';
import { BATCH_HEADER_VALUES, OPERATIONS } from '../codec/batch-encoder.js';
import { CHANGES_REPLIES } from '../codec/delta-decoder.js';
import { FRAGMENT_HEADER_VALUES, TOGGLE_BASES } from '../codec/delta-encoder.js';
import { HOME_MODES } from '../codec/home-modes.js';
import { ARM_REPLIES, REACHED_BY, RECORD_VALUES } from '../codec/milestones-decoder.js';
import { HASH_MULTIPLIER } from '../codec/msgpack-writer.js';
import { BUCKET_FIELDS, BUCKET_KEYS } from '../codec/redis-keys.js';
import { RECORD_TAGS, TAGS_PER_METRIC, TAGS_PER_SLOT } from '../codec/redis-post-record.js';
import { REGISTER_STORAGES } from '../codec/register-storage.js';
import { COMMIT_REPLIES, KIND_WITH_MEMBERS } from '../codec/reply-decoder.js';
import { PERSON_BYTES } from '../codec/viewer-report.js';
import { ERROR_PREFIX } from './call-coalescer.js';

const [STORAGE_LOCAL_LOG, , STORAGE_REGISTERS] = REGISTER_STORAGES;

/** Values that one command or one call of a C function has at most: C has room for 8,000, and some commands take two each. */
const VALUES_AT_ONCE = 3_000;

export type ScriptConstants = Readonly<Record<string, number | string | undefined>>;

/** The constants that Lua files may name after `-- @constants`: those that TypeScript has, too, or several libraries. */
export const SCRIPT_CONSTANTS: ScriptConstants = {
  VALUES_AT_ONCE,
  COUNT_MAX,
  TIME_AHEAD_MAX_MS,
  MARK_GENERATION_MS,
  MARK_GENERATION_MAX,
  VISIT_MARKS_MAX,
  INCARNATIONS_MAX,
  REGIONS_MAX,
  FEED_MAX,
  FEED_WITH_MEMBERS_MAX,
  ENTRIES_PER_SEQ,
  SEQ_BEFORE_FIRST,
  STARTS_MAX,
  SUM_MODULUS,
  PREDECESSORS_MAX,
  ARMED_MAX,
  ARMED_PER_BUCKET_MAX,
  MILESTONES_MAX,
  MERGED_RECORDS_MAX,
  MILESTONE_FINAL_MS,
  TOGGLES_PER_STAMP,
  SINCE_MS,
  STEPS_PER_MS,
  REGION_NUMBERS,
  HASH_MULTIPLIER,
  BATCH_HEADER_VALUES,
  FRAGMENT_HEADER_VALUES,
  RECORD_VALUES,
  TAGS_PER_METRIC,
  TAGS_PER_SLOT,
  ...withPrefix('TAG', RECORD_TAGS),
  ...withPrefix('KEY', BUCKET_KEYS),
  ...withPrefix('FIELD', BUCKET_FIELDS),
  ...withPrefix('OPERATION', OPERATIONS),
  ...withPrefix('OUTCOME', { APPLIED, DUPLICATE, ELSEWHERE, ON, SWITCHED, REACHED }),
  SWITCHED_FROM: 1 << SWITCHED_FROM_BIT,
  SWITCHED_FROM_SEVERAL,
  ...withPrefix('COMMIT', COMMIT_REPLIES),
  ...withPrefix('ARM', ARM_REPLIES),
  HOME_ORDER: HOME_MODES.indexOf('order'),
  HOME_STRICT: HOME_MODES.indexOf('strict'),
  HOME_RELEASED: HOME_MODES.indexOf('released'),
  FORMER_HOMES_MAX,
  HOME_NUMBER_JUMP_MAX,
  HOPS_MAX,
  REACHED_BY_ADD: REACHED_BY.add,
  REACHED_BY_SET: REACHED_BY.set,
  REACHED_BY_ADJUST: REACHED_BY.adjust,
  ...withPrefix('CHANGES', CHANGES_REPLIES),
  FROM_MEMBERS: TOGGLE_BASES.indexOf('members'),
  FROM_REPAIR: TOGGLE_BASES.indexOf('repair'),
  STORAGE_LOCAL_LOG,
  STORAGE_REGISTERS,
  KIND_WITH_MEMBERS,
  PERSON_BYTES,
  ERROR_PREFIX,
};

function withPrefix<T>(prefix: string, constants: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(constants).map(([name, value]) => [`${prefix}_${name}`, value]));
}
