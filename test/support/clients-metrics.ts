/** A number that the gateway tells its operator at /metrics; of a metric with labels the sum. */
export async function metricAt(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  if (lines.length === 0) throw new Error(`there is no metric ${name}`);
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/** Asks again and again until it is so. */
export async function untilMetric(url: string, name: string, condition: (value: number) => boolean): Promise<void> {
  while (!condition(await metricAt(url, name)));
}
