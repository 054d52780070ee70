/** For people. */
export function whole(value: number): string {
  return Math.round(value).toLocaleString('en');
}

/** Three digits, or whole. */
export function short(value: number): string {
  return value >= 100 ? whole(value) : value.toLocaleString('en', { maximumSignificantDigits: 3 });
}

export function milliseconds(value: number | null): string {
  return value === null ? 'none' : short(value);
}

const MB = 1e6;

export function megabytes(bytes: number): string {
  return `${short(bytes / MB)} MB`;
}
