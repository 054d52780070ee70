import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  ADDRESS,
  type Example,
  INTERPRETERS,
  KINDS_ADDRESS,
  OPERATED_ADDRESS,
  parseExamples,
  runExample,
} from '../support/examples.js';
import { type GatewayProcess, ROOT, startGateway, stopAll } from '../support/gateway-process.js';

const EXAMPLES_MIN = 12;

/** Languages of blocks that are not programs. */
const SHOWN = ['json', 'http', 'text'];

const document = readFileSync(join(ROOT, 'docs', 'protocol.md'), 'utf8');
const examples = parseExamples(document);

describe('docs/protocol.md', () => {
  /** By their address in the document. */
  const gateways = new Map<string, GatewayProcess>();

  beforeAll(async () => {
    const METRICS = /^METRICS=(\S+) PORT=3001 /m.exec(document)![1]!;
    const ADMIN_TOKEN = /^ADMIN_TOKEN=(\S+) PORT=3002 /m.exec(document)![1]!;
    const started = Object.entries({
      [ADDRESS]: {},
      [KINDS_ADDRESS]: { METRICS },
      [OPERATED_ADDRESS]: { ADMIN_TOKEN },
    });
    await Promise.all(started.map(async ([address, env]) => gateways.set(address, await startGateway(env))));
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
    const uses = ({ code }: Example): number => [...gateways.keys()].filter((address) => code.includes(address)).length;
    expect(examples.filter((example) => uses(example) !== 1)).toEqual([]);
    expect(examples.filter(({ printed }) => printed === undefined)).toEqual([]);
  });

  it.each(examples)('the example of docs/protocol.md works: $heading ($client)', async (example) => {
    const [address, { url }] = [...gateways].find(([one]) => example.code.includes(one))!;
    expect(await runExample(example, url, address)).toBe(example.printed);
  });
});
