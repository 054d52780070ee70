import { availableParallelism } from 'node:os';

/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/src', '<rootDir>/client', '<rootDir>/load', '<rootDir>/test'],
  // Three more than cores: half of the time a file waits for servers, browsers and other processes.
  maxWorkers: availableParallelism() + 3,
  // A guard against hanging, and no part of what is tested: a slow or busy machine may take this long.
  testTimeout: 120_000 * Number(process.env.TEST_SCALE ?? 1),
  testMatch: ['**/*.test.ts'],
  globalSetup: '<rootDir>/test/global-setup.ts',
  reporters: ['default', '<rootDir>/test/support/summary-reporter.js'],
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: {
    '^.+\\.ts$': [
      '<rootDir>/test/support/constant-globals.js',
      {
        jsc: {
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true },
          target: 'es2022',
        },
        module: { type: 'es6' },
      },
    ],
  },
  coverageProvider: 'v8',
};
