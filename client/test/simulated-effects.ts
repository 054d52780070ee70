import type { RequestedOperation, SimulatedWorld } from './simulated-world.js';

type Effect = Pick<RequestedOperation, 'metric' | 'value'>;

/**
 * Whether the operations of each page took effect as their outcomes say, those of one post in the order in which they were
 * made. One without an outcome has been left with its page, and has to be counted.
 * @param isSetAgain whether a toggle with an unknown outcome may be set again, behind later additions
 * @throws Error that names the first operation, or post of a page, for which that is not so
 */
export function checkEffects({ gateway, allPages }: SimulatedWorld, isSetAgain: boolean): void {
  const sessions = new Set(allPages.map(({ session }) => session));
  for (const name of gateway.applied.keys())
    if (!sessions.has(name.split('.')[0]!)) throw new Error(`${name} took effect, which is of no page`);
  for (const { session, operations } of allPages) {
    const applied = [...gateway.applied].filter(([name]) => name.startsWith(`${session}.`)).map(([, effect]) => effect);
    for (const post of new Set(operations.map((operation) => operation.post))) {
      const made = operations.filter((operation) => operation.post === post && operation.outcome !== 'BAD_REQUEST');
      const effects = applied.filter((effect) => effect.post === post);
      if (!explains(made, effects, isSetAgain)) {
        const list = (all: readonly Effect[]): string => all.map((one) => JSON.stringify(one)).join('\n  ');
        throw new Error(`made on ${post}:\n  ${list(made)}\ntook effect:\n  ${list(effects)}`);
      }
    }
  }
}

/** @param owed a toggle was passed that has to be set later */
function explains(
  made: readonly RequestedOperation[],
  effects: readonly Effect[],
  isSetAgain: boolean,
  at = 0,
  owed = false,
): boolean {
  const next = made[at];
  const [effect, ...others] = effects;
  if (!next && !effect) return !owed;
  if (effect && isSetAgain) {
    const lastToggle = made.slice(0, at).findLast(({ value }) => typeof value === 'boolean');
    const isRepeated = lastToggle?.metric === effect.metric && lastToggle.value === effect.value;
    if (isRepeated && explains(made, others, isSetAgain, at)) return true;
  }
  if (!next) return false;
  const mayBeMissing = next.outcome === 'OUTCOME_UNKNOWN';
  const isToggle = typeof next.value === 'boolean';
  if (isToggle && owed) return false;
  if (effect?.metric === next.metric) {
    const isPart = mayBeMissing && !isToggle && typeof effect.value === 'number' && effect.value < next.value;
    if ((isPart || effect.value === next.value) && explains(made, others, isSetAgain, at + 1, owed)) return true;
  }
  if (!mayBeMissing && !(isToggle && isSetAgain)) return false;
  return explains(made, effects, isSetAgain, at + 1, owed || (isToggle && !mayBeMissing));
}
