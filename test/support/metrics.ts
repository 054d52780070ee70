import { until } from './until.js';

/** Reads /metrics, keyed by `name{label="value"}`. */
export async function readMetrics(url: string): Promise<ReadonlyMap<string, number>> {
  // Compressing a page for every poll would cost more than the page.
  const response = await fetch(`${url}/metrics`, { headers: { 'Accept-Encoding': 'identity' } });
  const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}

/** Reads the value of a series without labels. */
export async function readMetric(url: string, name: string): Promise<number> {
  const value = (await readMetrics(url)).get(name);
  if (value === undefined) throw new Error(`/metrics has no series ${name}`);
  return value;
}

/** Resolves when the series has this value. */
export async function untilMetric(url: string, name: string, value: number): Promise<void> {
  await until(async () => (await readMetric(url, name)) === value, `${name} ${value}`);
}

/** Sums the operations with these results over their kinds. */
export function countOperations(metrics: ReadonlyMap<string, number>, ...results: readonly string[]): number {
  let sum = 0;
  for (const [name, value] of metrics) {
    const result = /^tallycast_operations_total\{.*result="(\w+)"/.exec(name)?.[1];
    if (result !== undefined && results.includes(result)) sum += value;
  }
  return sum;
}
