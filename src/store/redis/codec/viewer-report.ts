/** A key of a person is a text with as many characters, each a byte. */
export const PERSON_BYTES = 8;

/** Viewers of one gateway at posts of one bucket, as one call reports them. */
export interface ViewerReport {
  /** How many viewers of posts count by their number. */
  readonly others: readonly (readonly [post: string, viewers: number])[];
  /** People who came or left. */
  readonly people: readonly PeopleReport[];
}

interface PeopleReport {
  readonly post: string;
  /** Keys of people who are there, one after another. */
  readonly present: string;
  /** Keys of people who are not. */
  readonly absent: string;
}

/** Posts and people of one gateway in Redis, a part of them. */
export interface ViewersPage {
  /** Where the next page begins; `0`: there is none. */
  readonly cursor: string;
  /** Posts with viewers that count by their number. They are all in the first page. */
  readonly others: ReadonlyMap<string, number>;
  readonly people: readonly (readonly [post: string, person: string])[];
}

/** @returns arguments of scripts/report-viewers-6.lua */
export function encodeViewerReport({ others, people }: ViewerReport): (string | Buffer)[] {
  const keys = people.flatMap(({ post, present, absent }) => [post, toBytes(present), toBytes(absent)]);
  return [JSON.stringify(others.flat()), ...keys];
}

/** @param reply of scripts/read-viewers-2.lua, in bytes */
export function decodeViewersPage(reply: unknown): ViewersPage {
  const [cursor, people, list] = reply as [Buffer, Buffer[], Buffer[]];
  const others = new Map<string, number>();
  for (let i = 0; i < list.length; i += 2) others.set(list[i]!.toString(), Number(list[i + 1]));
  return { cursor: cursor.toString(), others, people: people.map(decodePerson) };
}

function decodePerson(bytes: Buffer): readonly [post: string, person: string] {
  const text = bytes.toString('latin1');
  return [text.slice(PERSON_BYTES), text.slice(0, PERSON_BYTES)];
}

function toBytes(keys: string): Buffer {
  return Buffer.from(keys, 'latin1');
}
