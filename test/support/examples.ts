import { spawn } from 'node:child_process';
import { ROOT } from './gateway-process.js';

/** A program in a document and its documented output. */
export interface Example {
  readonly heading: string;
  readonly client: string;
  readonly language: string;
  readonly code: string;
  readonly printed: string | undefined;
}

/** The gateway's address in the examples. */
export const ADDRESS = 'http://127.0.0.1:3000';
/** That of a gateway with further metrics, which the document names. */
export const KINDS_ADDRESS = 'http://127.0.0.1:3001';
/** That of a gateway with a token for operators. */
export const OPERATED_ADDRESS = 'http://127.0.0.1:3002';
/** A guard against hanging, shorter than Jest's so that the output is shown. */
const PROGRAM_MS = 100_000;

/** Commands by language of the fence; the program is passed over stdin, exactly as written. */
export const INTERPRETERS: Readonly<Record<string, readonly [string, ...string[]]>> = {
  js: [process.execPath, '--input-type=module', '-'],
  python: [process.env['PYTHON_BIN'] ?? '/usr/bin/python3', '-'],
  sh: ['bash', '-s'],
};

/** Finds fenced blocks in a runnable language, each with the heading above it and the `text` block right after it. */
export function parseExamples(markdown: string): Example[] {
  const found: Example[] = [];
  let heading = '';
  for (const [, title, language = '', code = '', printed] of markdown.matchAll(
    /^#+ (.+)$|^```(\w+)\n([\s\S]*?)^```$(?:\n\n```text\n([\s\S]*?)^```$)?/gm,
  )) {
    if (title !== undefined) heading = title;
    else if (language in INTERPRETERS) {
      found.push({ heading, client: nameClient(language, code), language, code, printed });
    }
  }
  return found;
}

function nameClient(language: string, code: string): string {
  if (language === 'python') return 'python-socketio';
  if (language === 'sh') return 'curl';
  return code.includes("from 'eventsource'") ? 'EventSource' : 'socket.io-client';
}

/** Resolves with the program's output; rejects with its output and stderr if it fails or does not end. */
export function runExample(
  { language, code }: Pick<Example, 'language' | 'code'>,
  url: string,
  address = ADDRESS,
): Promise<string> {
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
  // A program may end before it has read all of stdin; its exit code reports that.
  child.stdin.on('error', () => undefined).end(code.replaceAll(address, url));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exitCode, signal) => {
      if (exitCode === 0) resolve(output.stdout);
      else reject(new Error(`ended by ${signal ?? `exit code ${exitCode ?? '?'}`}\n${output.stdout}${output.stderr}`));
    });
  });
}
