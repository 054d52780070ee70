import { MessageBudget } from '../../src/access/message-budget.js';
import { systemClock } from '../../src/common/clock.js';
import { FlowControl } from '../../src/gateway/connection-flow-control.js';

/** The flow control of a connection without limits. */
export function unlimitedFlowControl(): FlowControl {
  const queue = {
    clock: systemClock,
    enqueue: () => undefined,
    remove: () => undefined,
    reportSuspicion: () => undefined,
  };
  return new FlowControl('', new MessageBudget(0, null, systemClock.nowMs()), queue);
}
