/** For people. */
export function formatWhole(value: number): string {
  return Math.round(value).toLocaleString('en');
}

/** Three digits, or whole. */
export function formatShort(value: number): string {
  return value >= 100 ? formatWhole(value) : value.toLocaleString('en', { maximumSignificantDigits: 3 });
}

export function formatMilliseconds(value: number | null): string {
  return value === null ? 'none' : formatShort(value);
}

const MB = 1e6;

export function formatMegabytes(bytes: number): string {
  return `${formatShort(bytes / MB)} MB`;
}
