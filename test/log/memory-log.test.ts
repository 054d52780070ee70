import { MemoryLog } from '../simulation/memory-log.js';
import { describeLog, EVENTS_MAX } from './event-log.contract.js';

// Simulations rely on it, so it keeps the promises of the other logs.
describeLog('the log of simulations', () => {
  let names = 0;
  const log = new MemoryLog({
    eventsMax: EVENTS_MAX,
    newName: () => `log ${++names}`,
    isReplicated: true,
    nextIncarnation: (last) => last + 1,
  });
  return Promise.resolve({
    log,
    empty: () => Promise.resolve(void log.empty()),
    close: () => log.close(),
  });
});
