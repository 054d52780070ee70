/**
 * Copies an ASCII text into memory of its own. V8 keeps a slice of a string by keeping the whole string: an id of 13 characters
 * or more out of a polling request or a URL would hold up to 256 KB for as long as the id is kept.
 */
export function copyText(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}
