import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type GatewayProcess, ROOT, startGateway, stopAll } from '../support/gateway-process.js';

/** A program in the document and what it says that it prints. */
interface Example {
  readonly heading: string;
  readonly client: string;
  readonly language: string;
  readonly code: string;
  readonly printed: string | undefined;
}

const ADDRESS = 'http://127.0.0.1:3000';
/** A guard against hanging, shorter than Jest's so that the output is shown. */
const PROGRAM_MS = 100_000;
const EXAMPLES_MIN = 12;

/** How a fence's language is run; the program comes over stdin, so that it is run as written. */
const INTERPRETERS: Readonly<Record<string, readonly [string, ...string[]]>> = {
  js: [process.execPath, '--input-type=module', '-'],
  python: [process.env['PYTHON_BIN'] ?? '/usr/bin/python3', '-'],
  sh: ['bash', '-s'],
};

/** Blocks that show something and are no programs. */
const SHOWN = ['json', 'http', 'text'];

const document = readFileSync(join(ROOT, 'docs', 'protocol.md'), 'utf8');
const examples = examplesOf(document);

describe('docs/protocol.md', () => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    gateway = await startGateway();
  });

  afterAll(stopAll);

  it('has examples for every kind of client', () => {
    expect(new Set(examples.map(({ client }) => client))).toEqual(
      new Set(['socket.io-client', 'python-socketio', 'curl', 'EventSource']),
    );
    expect(examples.length).toBeGreaterThanOrEqual(EXAMPLES_MIN);
  });

  it('marks every block as a program or as something shown', () => {
    const languages = [...document.matchAll(/^```(.*)\n[\s\S]*?^```$/gm)].map(([, language = '']) => language);
    expect(languages.filter((language) => !(language in INTERPRETERS) && !SHOWN.includes(language))).toEqual([]);
  });

  it('gives each example a heading of its own, the usual address and its output', () => {
    expect(new Set(examples.map(({ heading }) => heading)).size).toBe(examples.length);
    expect(examples.filter(({ code }) => !code.includes(ADDRESS))).toEqual([]);
    expect(examples.filter(({ printed }) => printed === undefined)).toEqual([]);
  });

  it.each(examples)('$heading ($client)', async ({ code, language, printed }) => {
    const output = await run(language, code.replaceAll(ADDRESS, gateway.url));
    expect(output).toBe(printed);
  });
});

/** Fenced blocks in a language that can be run, each with the heading above it and the `text` block right after it. */
function examplesOf(markdown: string): Example[] {
  const found: Example[] = [];
  let heading = '';
  for (const [, title, language = '', code = '', printed] of markdown.matchAll(
    /^#+ (.+)$|^```(\w+)\n([\s\S]*?)^```$(?:\n\n```text\n([\s\S]*?)^```$)?/gm,
  )) {
    if (title !== undefined) heading = title;
    else if (language in INTERPRETERS) {
      found.push({ heading, client: clientOf(language, code), language, code, printed });
    }
  }
  return found;
}

function clientOf(language: string, code: string): string {
  if (language === 'python') return 'python-socketio';
  if (language === 'sh') return 'curl';
  return code.includes("from 'eventsource'") ? 'EventSource' : 'socket.io-client';
}

/** What the program prints; rejects with what it says on stderr if it fails or does not end. */
function run(language: string, code: string): Promise<string> {
  const [command, ...args] = INTERPRETERS[language]!;
  const { PATH = '', HOME = '' } = process.env;
  const child = spawn(command, args, {
    cwd: ROOT,
    env: { PATH, HOME },
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: PROGRAM_MS,
    killSignal: 'SIGKILL',
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text));
  // A program that ends before it has read itself is told by its exit code.
  child.stdin.on('error', () => undefined).end(code);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exitCode, signal) => {
      if (exitCode === 0) resolve(output.stdout);
      else reject(new Error(`ended by ${signal ?? `exit code ${exitCode ?? '?'}`}\n${output.stdout}${output.stderr}`));
    });
  });
}
