import { transformFileSync } from '@swc/core';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { ROOT } from './gateway-process.js';

/** Runs a program of this folder in a thread of its own. It is TypeScript like all others: it is compiled here, and what it imports goes along. */
export function threadOf(program: string, workerData: unknown): Worker {
  return new Worker(new URL(compiled(program)), { workerData, execArgv: [] });
}

/** @returns a data: URL. */
function compiled(file: string): string {
  const { code } = transformFileSync(join(ROOT, 'test', 'support', file), {
    jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
    module: { type: 'es6' },
  });
  const whole = code.replace(/(?<=from ')\.\/([a-z-]+)\.js(?=')/g, (_, name: string) => compiled(`${name}.ts`));
  return `data:text/javascript;base64,${Buffer.from(whole).toString('base64')}`;
}
