import process from 'node:process';

/**
 * Ends a run with one line for CI: `12 passed, 1 failed`. It counts tests; a suite that could not run counts as one failed
 * test. The line is written when the process exits, because Jest prints its own summary after all other reporters.
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
