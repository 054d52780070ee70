import process from 'node:process';

/**
 * Ends a run with one line for CI to count by: `12 passed, 1 failed`. It counts tests; a suite that could not be run at
 * all counts as one that failed. Written as the process exits, for Jest's own summary comes after every other reporter.
 */
export default class SummaryReporter {
  #line = '';

  constructor() {
    process.once('exit', () => {
      if (this.#line !== '') process.stdout.write(`${this.#line}\n`);
    });
  }

  /** @param {unknown} _contexts @param {import('@jest/reporters').AggregatedResult} results */
  onRunComplete(_contexts, results) {
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    const skipped = results.numPendingTests + results.numTodoTests;
    this.#line = `${results.numPassedTests} passed, ${failed} failed`;
    if (skipped > 0) this.#line += `, ${skipped} skipped`;
  }
}
