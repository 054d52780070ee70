import type { Operation } from './operation.js';

/** The action of a request over HTTP: one up, or one down. */
type CountAction = 'increment' | 'decrement';

/** How a kind of metric counts. What differs between kinds is read here; nothing else compares their names. */
export interface MetricKind {
  /** As the `METRICS` setting has it, with its parameter: `unique@30m`. */
  readonly name: string;
  /** Several metrics of the kind, in messages. */
  readonly plural: string;
  /** The effect of a request, as the API document says it after the metric's name. */
  readonly effect: string;
  /** The form in which stores keep the metric: its rule may change while its data stays. */
  readonly storage: 'toggle' | 'tally';
  /** Whether the actors that it counts are kept: each counts once. Its state is these members besides a counter. */
  readonly hasMembers: boolean;
  /** Whether it can be counted down. */
  readonly canDecrement: boolean;
  /** Whether each operation counts its actor, once: it needs an actor, and counts 1. */
  readonly isUnique: boolean;
  /** Seconds after which an actor counts again; 0: the kind has no window. */
  readonly windowS: number;
  /** Toggles of one group exclude each other for an actor; `null`: it is in none. */
  readonly group: string | null;
  /** The event that takes metrics of this kind by their name. */
  readonly event: 'add' | 'set';
  /** The operation for a request over HTTP; a decrement only where `canDecrement`. */
  operationFor(action: CountAction, hasActor: boolean): Pick<Operation, 'kind' | 'value'>;
}

/** At most one an actor, and the actor can take it back. */
const TOGGLE: MetricKind = {
  name: 'toggle',
  plural: 'toggles',
  effect:
    'is put on or off for the actor, so a repetition changes nothing; without an actor it is a plain +1 or -1; ' +
    'a -1 takes away only what was added so in this region, and else changes nothing',
  storage: 'toggle',
  hasMembers: true,
  canDecrement: true,
  isUnique: false,
  windowS: 0,
  group: null,
  event: 'set',
  operationFor(action, hasActor) {
    if (hasActor) return { kind: 'set', value: action === 'increment' ? 1 : 0 };
    return { kind: 'adjust', value: action === 'increment' ? 1 : -1 };
  },
};

/** Only grows. */
const TALLY: MetricKind = {
  name: 'tally',
  plural: 'tallies',
  effect: 'only grows: `decrement` is rejected',
  storage: 'tally',
  hasMembers: false,
  canDecrement: false,
  isUnique: false,
  windowS: 0,
  group: null,
  event: 'add',
  operationFor: () => ({ kind: 'add', value: 1 }),
};

/** At most one an actor, for good. */
const UNIQUE: MetricKind = {
  ...TOGGLE,
  name: 'unique',
  plural: 'uniques',
  effect: 'counts each actor once, for good: `decrement`, and a request without an actor, are rejected',
  canDecrement: false,
  isUnique: true,
  event: 'add',
  operationFor: () => ({ kind: 'set', value: 1 }),
};

/** One an actor and window. */
function uniqueWithin(windowS: number, text: string): MetricKind {
  return {
    ...UNIQUE,
    name: `unique@${text}`,
    effect: `counts an actor again after ${text} at the earliest: \`decrement\`, and a request without an actor, are rejected`,
    storage: 'tally',
    hasMembers: false,
    windowS,
    operationFor: () => ({ kind: 'visit', value: 1 }),
  };
}

/** Toggles of which an actor has one on at most. */
function choiceIn(group: string): MetricKind {
  return {
    ...TOGGLE,
    name: `choice@${group}`,
    plural: 'choices',
    effect: `is an option of ${group}: put on for the actor, it puts the actor's other one off; else it is a toggle`,
    group,
  };
}

const WINDOW = /^unique@([1-9]\d{0,3})([mh])$/;
const WINDOW_MAX_S = 24 * 3_600;
const GROUP = /^choice@([a-z][a-z0-9_]{0,31})$/;

const KINDS_RULE =
  'a kind is toggle, tally, unique, unique@WINDOW such as unique@30m, or choice@GROUP such as choice@vote';

/** @throws Error that says what would be right */
export function parseMetricKind(text: string): MetricKind {
  for (const kind of [TOGGLE, TALLY, UNIQUE]) if (kind.name === text) return kind;
  const [name] = text.split('@');
  if (name === 'unique') return parseWindow(text);
  if (name !== 'choice') throw new Error(KINDS_RULE);
  const group = GROUP.exec(text)?.[1];
  if (group === undefined) {
    throw new Error('a choice names its group, a-z and then up to 31 of a-z 0-9 _, such as choice@vote');
  }
  return choiceIn(group);
}

function parseWindow(text: string): MetricKind {
  const [, length, unit] = WINDOW.exec(text) ?? [];
  const windowS = Number(length ?? 0) * (unit === 'h' ? 3_600 : 60);
  if (windowS < 60 || windowS > WINDOW_MAX_S)
    throw new Error('a window is from 1m to 24h, such as unique@30m or unique@12h');
  return uniqueWithin(windowS, `${length!}${unit!}`);
}
