const warned = new Set<string>();

/** Warns the author of the page, once a cause: what the visitor does may cause it again and again. */
export function warnOnce(cause: string, text: string): void {
  if (warned.has(cause)) return;
  warned.add(cause);
  console.warn(`tallycast: ${text}`);
}
