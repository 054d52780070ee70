import { isDeepStrictEqual } from 'node:util';
import { runRemotely } from '../../src/cli/remote-command.js';
import { connect, expectOk, readTotals, type Totals } from './clients.js';
import { runCommand } from './command.js';
import type { GatewayProcess } from './gateway-process.js';
import type { TestDatabase } from './postgres-server.js';
import { until } from './until.js';

/** Gateways with a PostgreSQL sink, and their operators. */
export const ADMIN_TOKEN = 'a-token-of-an-operator';
export const POSTS = ['42', 'an-article', 'third'] as const;

/** The rows of the posts, as PostgreSQL has them. */
export async function readRows(database: TestDatabase): Promise<Record<string, Totals>> {
  const rows = await database
    .sql<{ post: string; likes: string; views: string }>('SELECT post, likes, views FROM tallycast_counts')
    // The tables are made by the first gateway that feeds them.
    .catch(() => []);
  return Object.fromEntries(
    rows.map(({ post, likes, views }) => [post, { likes: Number(likes), views: Number(views) }]),
  );
}

/** Waits until the rows are the totals that the gateway has, and returns these. */
export async function untilEqual(database: TestDatabase, { url }: GatewayProcess): Promise<Record<string, Totals>> {
  const totals = await readTotals(url, POSTS);
  const isEqual = async (): Promise<boolean> => {
    const rows = await readRows(database);
    return isDeepStrictEqual(rows, totals);
  };
  await until(isEqual, 'the rows equal the totals');
  return totals;
}

/** Each actor likes every post and views it twice. */
export async function likeAndView({ url }: GatewayProcess, ...actors: readonly string[]): Promise<void> {
  for (const actor of actors) {
    const socket = connect(url, { actor });
    for (const post of POSTS) {
      expectOk(await socket.emitWithAck('like', { post }));
      expectOk(await socket.emitWithAck('view', { post }));
      expectOk(await socket.emitWithAck('view', { post }));
    }
  }
}

/** Log lines about sinks. */
export function readSinkWarnings({ log }: Pick<GatewayProcess, 'log'>): string[] {
  const records = log.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Record<string, unknown>);
  return records.filter(({ context }) => context === 'sinks').map(({ msg }) => String(msg));
}

/**
 * Lets the gateway do what a command of `tallycast` would request, without a process for the command.
 * @param print gets each line of JSON
 * @returns the last line
 */
export async function requestAdmin(
  { url }: Pick<GatewayProcess, 'url'>,
  path: '/admin/audit' | `/admin/sinks/${'adopt' | 'off' | 'retry'}`,
  print: (line: string) => void = () => undefined,
): Promise<unknown> {
  return await runRemotely({ method: 'POST', path, body: null }, url, { ADMIN_TOKEN }, print);
}

/** Runs a command of `tallycast` for this gateway. @returns what it prints, or its error line */
export async function runAdminCommand(gateway: Pick<GatewayProcess, 'url'>, ...args: string[]): Promise<unknown> {
  const { status, stdout, stderr } = await runCommand(args, { ADMIN_TOKEN, TALLYCAST_URL: gateway.url });
  return status === 0 ? (JSON.parse(stdout) as unknown) : stderr;
}

export function totalsOfEach(likes: number, views: number): Record<string, Totals> {
  return Object.fromEntries(POSTS.map((post) => [post, { likes, views }]));
}
