/** Readings from servers while they are measured. */
import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';

/** Reads the gateway's metrics by name, each summed over its labels. */
export async function readMetrics(server) {
  const page = await (await globalThis.fetch(`${server.url}/metrics`)).text();
  const metrics = new Map();
  for (const [, name, value] of page.matchAll(/^(\w+)(?:\{[^}]*\})? (\S+)$/gm)) {
    metrics.set(name, (metrics.get(name) ?? 0) + Number(value));
  }
  return metrics;
}

/** Reads the resident memory of the process, in bytes. */
export function residentBytes(pid) {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;
}

/**
 * Counts calls of Redis commands from now on, those of scripts included.
 *
 * @returns a function that ends the counting and resolves with calls a second by command
 */
export async function countCommands(redis) {
  const client = new Redis(redis.url);
  await client.config('RESETSTAT');
  const startMs = performance.now();
  return async () => {
    const stats = await client.info('commandstats');
    const seconds = (performance.now() - startMs) / 1_000;
    client.disconnect();
    const calls = [...stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)];
    return Object.fromEntries(calls.map(([, name, count]) => [name, Number(count) / seconds]));
  };
}
