import type { Metrics } from '../../../counters/metrics.js';

/** @returns what scripts take as the other options of each metric's choice: those of a metric with commas between them, and a blank after each metric */
export function formatOptions({ otherOptions }: Pick<Metrics, 'otherOptions'>): string {
  return otherOptions.map((others) => `${others.join(',')} `).join('');
}
