import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseExamples, runExample } from '../support/examples.js';
import { type GatewayProcess, ROOT, startGateway, stopAll } from '../support/gateway-process.js';

const document = readFileSync(join(ROOT, 'docs', 'milestones.md'), 'utf8');
const examples = parseExamples(document);

describe('docs/milestones.md', () => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    gateway = await startGateway({ ADMIN_TOKEN: /^ADMIN_TOKEN=(\S+) node /m.exec(document)![1]! });
  });

  afterAll(stopAll);

  it('docs/milestones.md arms a milestone, reaches it, reads it and finds the name of the winner', () => {
    expect(examples.map(({ heading }) => heading)).toEqual([
      'Arm a milestone',
      'Reach it',
      'Read the winner',
      'Find the name',
    ]);
  });

  it.each(examples)('the example of docs/milestones.md works: $heading', async (example) => {
    expect(await runExample(example, gateway.url)).toBe(example.printed);
  });
});
