/** One page of /metrics, by `name{label="value"}`. */
export async function metricsOf(url: string): Promise<ReadonlyMap<string, number>> {
  const response = await fetch(`${url}/metrics`);
  const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}

/** Operations that ended so, summed over their kinds. */
export function operationsThat(metrics: ReadonlyMap<string, number>, ...results: readonly string[]): number {
  let sum = 0;
  for (const [name, value] of metrics) {
    const result = /^tallycast_operations_total\{.*result="(\w+)"/.exec(name)?.[1];
    if (result !== undefined && results.includes(result)) sum += value;
  }
  return sum;
}

/** Asks until `reached` is true, and fails when it does not come. */
export async function until(reached: () => Promise<boolean> | boolean, what: string, limitMs = 10_000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await reached())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
