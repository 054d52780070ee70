import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ADDRESS, KINDS_ADDRESS, type Example, parseExamples, INTERPRETERS, runExample } from '../support/examples.js';
import { type GatewayProcess, ROOT, startGateway, stopAll } from '../support/gateway-process.js';

const EXAMPLES_MIN = 12;

/** Languages of blocks that are not programs. */
const SHOWN = ['json', 'http', 'text'];

const document = readFileSync(join(ROOT, 'docs', 'protocol.md'), 'utf8');
const examples = parseExamples(document);

describe('docs/protocol.md', () => {
  let gateway: GatewayProcess;
  let gatewayOfKinds: GatewayProcess;

  beforeAll(async () => {
    const METRICS = /^METRICS=(\S+) PORT=3001 /m.exec(document)![1]!;
    [gateway, gatewayOfKinds] = await Promise.all([startGateway(), startGateway({ METRICS })]);
  });

  afterAll(stopAll);

  it('docs/protocol.md has examples for every kind of client', () => {
    expect(new Set(examples.map(({ client }) => client))).toEqual(
      new Set(['socket.io-client', 'python-socketio', 'curl', 'EventSource']),
    );
    expect(examples.length).toBeGreaterThanOrEqual(EXAMPLES_MIN);
  });

  it('every block of docs/protocol.md has a known language', () => {
    const languages = [...document.matchAll(/^```(.*)\n[\s\S]*?^```$/gm)].map(([, language = '']) => language);
    expect(languages.filter((language) => !(language in INTERPRETERS) && !SHOWN.includes(language))).toEqual([]);
  });

  it('each example of docs/protocol.md has its own heading, one of the addresses and its output', () => {
    expect(new Set(examples.map(({ heading }) => heading)).size).toBe(examples.length);
    const usesOne = ({ code }: Example): boolean => code.includes(ADDRESS) !== code.includes(KINDS_ADDRESS);
    expect(examples.filter((example) => !usesOne(example))).toEqual([]);
    expect(examples.filter(({ printed }) => printed === undefined)).toEqual([]);
  });

  it.each(examples)('the example of docs/protocol.md works: $heading ($client)', async (example) => {
    const run = example.code.includes(ADDRESS)
      ? runExample(example, gateway.url)
      : runExample(example, gatewayOfKinds.url, KINDS_ADDRESS);
    expect(await run).toBe(example.printed);
  });
});
