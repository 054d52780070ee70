import type { TestDatabase } from '../support/postgres-server.js';

/** Counts of a post. A metric that is added later is 0 until then. */
interface Counts {
  readonly likes: number;
  readonly views: number;
  readonly shares: number;
}

/** By post. Posts without counts are left out. */
export type CountsByPost = Readonly<Record<string, Counts>>;

type Row = { readonly post: string } & { readonly [metric in keyof Counts]?: string | number };

/** The rows in PostgreSQL, which may be down or have no tables yet. */
export async function readRows(database: TestDatabase): Promise<CountsByPost> {
  return toCounts(await database.sql<Row>('SELECT * FROM tallycast_counts').catch(() => []));
}

/** The counts of the store, by the HTTP API of a gateway. */
export async function readStore(url: string, posts: readonly string[]): Promise<CountsByPost> {
  const response = await fetch(`${url}/v1/counts?posts=${posts.join()}`);
  if (!response.ok) throw new Error(`${response.url}: status ${response.status}`);
  return toCounts(((await response.json()) as { counts: Row[] }).counts);
}

/** The posts in tallycast_dead. */
export async function readDead(database: TestDatabase): Promise<string[]> {
  const rows = await database.sql<{ post: string }>('SELECT post FROM tallycast_dead ORDER BY post');
  return rows.map(({ post }) => post);
}

function toCounts(rows: readonly Row[]): CountsByPost {
  const entries = rows.map(({ post, likes = 0, views = 0, shares = 0 }): [string, Counts] => [
    post,
    { likes: Number(likes), views: Number(views), shares: Number(shares) },
  ]);
  return Object.fromEntries(entries.filter(([, counts]) => Object.values(counts).some((count) => count !== 0)));
}
