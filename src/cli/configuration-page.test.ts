import { readFileSync } from 'node:fs';
import { expect, it } from '@jest/globals';
import { configurationPage } from './configuration-page.js';

it('docs/configuration.md equals the output of npm run docs', () => {
  expect(readFileSync('docs/configuration.md', 'utf8')).toBe(configurationPage());
});
