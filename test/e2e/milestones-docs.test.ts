import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseExamples, runExample } from '../support/examples.js';
import { type GatewayProcess, ROOT, startGateway, stopAll } from '../support/gateway-process.js';
import { RegionProcesses } from '../support/region-processes.js';

const document = readFileSync(join(ROOT, 'docs', 'milestones.md'), 'utf8');
const examples = parseExamples(document);

/** The gateways of two regions in the document. */
const ADDRESSES = ['http://127.0.0.1:3001', 'http://127.0.0.1:3002'] as const;

describe('docs/milestones.md', () => {
  let gateway: GatewayProcess;
  let regions: RegionProcesses;

  beforeAll(async () => {
    const ADMIN_TOKEN = /^ADMIN_TOKEN=(\S+) node /m.exec(document)![1]!;
    gateway = await startGateway({ ADMIN_TOKEN });
    const names = Array.from(document.matchAll(/^REGION=(\S+) PORT=/gm), ([, name]) => name!);
    regions = await RegionProcesses.start(names, { gateways: 1, redis: false, more: { ADMIN_TOKEN } });
  });

  afterAll(async () => {
    await regions.close();
    await stopAll();
  });

  it('docs/milestones.md arms a milestone, reaches it, reads it, finds the name of the winner, and does it among regions', () => {
    expect(examples.map(({ heading }) => heading)).toEqual([
      'Arm a milestone',
      'Reach it',
      'Read the winner',
      'Find the name',
      'Arm it among regions',
    ]);
  });

  it.each(examples)('the example of docs/milestones.md works: $heading', async ({ language, code, printed }) => {
    const there = ADDRESSES.reduce((text, address, i) => text.replaceAll(address, regions.urls[i]!), code);
    expect(await runExample({ language, code: there }, gateway.url)).toBe(printed);
  });
});
