import { expect, it } from '@jest/globals';
import { findGateway } from './page-client.js';

it.each([
  ['https://counts.example/client/tallycast.js', 'https://counts.example/'],
  ['https://example.org/apps/live/client/tallycast.js?v=2#a', 'https://example.org/apps/live/'],
  // Copies, and bundles that contain the package.
  ['https://example.org/static/tallycast.js', 'https://example.org/'],
  ['https://example.org/client/index-4f.js', 'https://example.org/'],
])('the script %s belongs to the gateway %s', (script, gateway) => {
  expect(findGateway(script)).toBe(gateway);
});
