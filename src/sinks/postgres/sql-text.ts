/** A name in SQL, whatever characters it has. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A string in SQL. No backslash is special, as `standard_conforming_strings` is on by default. */
export function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/**
 * An array literal of numbers. The driver would quote and check each element of an array, which costs more than the rest of a write.
 */
export function numbersLiteral(numbers: readonly (number | bigint | null)[]): string {
  return `{${numbers.map((one) => one ?? 'NULL').join(',')}}`;
}

/** An array literal of texts without quotes and backslashes, such as ids of posts. Quoted, because a post may be called null. */
export function plainTextsLiteral(texts: readonly string[]): string {
  return texts.length === 0 ? '{}' : `{"${texts.join('","')}"}`;
}

/** SQL or a message as one line. */
export function toLine(text: string): string {
  return text.trim().replaceAll(/\s*\n\s*/g, ' ');
}
