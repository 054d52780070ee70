import hooks from 'node:async_hooks';
import circus from 'jest-circus/runner';

const { AsyncLocalStorage } = hooks;

/**
 * The test or hook that runs, for Jest Circus, which attributes unhandled rejections to it. Tests of a file run one after
 * the other.
 */
class CurrentTest {
  #current;

  constructor() {
    hooks.AsyncLocalStorage = AsyncLocalStorage;
  }

  getStore() {
    return this.#current;
  }

  async run(current, task) {
    const outer = this.#current;
    this.#current = current;
    try {
      return await task();
    } finally {
      this.#current = outer;
    }
  }
}

/**
 * Runs a test file with Jest Circus, whose first AsyncLocalStorage is replaced. In Node 20 a real one calls hooks for each
 * promise, which takes a seventh of the CPU of simulations.
 */
export default function runTestFile(...parameters) {
  hooks.AsyncLocalStorage = CurrentTest;
  return circus.default(...parameters);
}
