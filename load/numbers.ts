/** Formats a whole number with separators. */
export function formatWhole(value: number): string {
  return Math.round(value).toLocaleString('en');
}

/** Formats with three significant digits, from 100 on as a whole number. */
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
