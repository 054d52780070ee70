import type { Operation } from './operation.js';

/** The action of a request over HTTP: one up, or one down. */
type CountAction = 'increment' | 'decrement';

/** How a kind of metric counts. What differs between kinds is read here; nothing else compares their names. */
export interface MetricKind {
  /** As the `METRICS` setting has it. */
  readonly name: string;
  /** Several metrics of the kind, in messages. */
  readonly plural: string;
  /** The effect of a request, as the API document says it after the metric's name. */
  readonly effect: string;
  /** Whether the actors that it counts are kept: each counts once. Its state is these members besides a counter. */
  readonly hasMembers: boolean;
  /** Whether it can be counted down. */
  readonly canDecrement: boolean;
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
  hasMembers: true,
  canDecrement: true,
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
  hasMembers: false,
  canDecrement: false,
  event: 'add',
  operationFor: () => ({ kind: 'add', value: 1 }),
};

/** All kinds. A kind that is made of a counter, or of members, is one more row. */
export const METRIC_KINDS: readonly MetricKind[] = [TOGGLE, TALLY];
