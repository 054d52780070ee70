import { MessageBudget } from '../../src/access/message-budget.js';
import { systemClock } from '../../src/common/clock.js';
import { Intake } from '../../src/gateway/intake.js';

/** The intake of a connection without limits. */
export function unlimitedIntake(): Intake {
  const queue = {
    clock: systemClock,
    enqueue: () => undefined,
    remove: () => undefined,
    reportSuspicion: () => undefined,
  };
  return new Intake('', new MessageBudget(0, null, systemClock.nowMs()), queue);
}
