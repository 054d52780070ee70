import type { Load } from './arguments.js';
import type { Totals } from './ledger.js';
import { buildReadHeaders } from './identity.js';
import { formatPostId } from './messages.js';

/** The gateway does not answer, or not by docs/protocol.md. */
export class GatewayError extends Error {}

/** This many ids of 64 characters fit into a request line. */
const POSTS_PER_REQUEST = 100;
const RETRY_MS = 500;
const ANSWER_MAX_MS = 10_000;
/** Statuses that a missing or wrong token causes. */
const UNAUTHORIZED: ReadonlySet<number> = new Set([401, 403]);
const RETRYABLE: ReadonlySet<number> = new Set([429, 503]);

type Counts = (Totals & { readonly post: string })[];

/** Reads the gateway's totals, indexed by the number of the post. @throws GatewayError after `attempts` */
export async function readTotals(load: Load, attempts: number): Promise<Totals[]> {
  const totals: Totals[] = [];
  for (let from = 0; from < load.posts; from += POSTS_PER_REQUEST) {
    const count = Math.min(POSTS_PER_REQUEST, load.posts - from);
    const posts = Array.from({ length: count }, (_, i) => formatPostId(load, from + i));
    totals.push(...(await readPosts(load, posts, attempts)));
  }
  return totals;
}

async function readPosts({ url }: Load, posts: readonly string[], attempts: number): Promise<Totals[]> {
  const address = `${url}/v1/counts?posts=${posts.join(',')}`;
  for (let attempt = 1; ; attempt++) {
    const answer = await request(address);
    if (Array.isArray(answer)) return inOrderOf(posts, answer);
    if (!answer.isRetryable || attempt === attempts) throw new GatewayError(`${url} ${answer.failure}`);
    await new Promise((resolve) => setTimeout(resolve, answer.retryAfterMs));
  }
}

interface Failed {
  readonly failure: string;
  readonly isRetryable: boolean;
  readonly retryAfterMs: number;
}

async function request(address: string): Promise<Counts | Failed> {
  try {
    const response = await fetch(address, { headers: buildReadHeaders(), signal: AbortSignal.timeout(ANSWER_MAX_MS) });
    if (response.ok) {
      const { counts } = (await response.json()) as { counts?: Counts };
      return counts ?? { failure: 'is not a gateway', isRetryable: false, retryAfterMs: 0 };
    }
    const { status, headers } = response;
    const retryAfterMs = Math.max(RETRY_MS, Number(headers.get('retry-after') ?? 0) * 1_000);
    const hint = UNAUTHORIZED.has(status) ? '; set JWT_SECRET as the gateway has it' : '';
    return { failure: `answers ${status} to /v1/counts${hint}`, isRetryable: RETRYABLE.has(status), retryAfterMs };
  } catch (error) {
    return { failure: `does not answer: ${describeCause(error)}`, isRetryable: true, retryAfterMs: RETRY_MS };
  }
}

function describeCause(error: unknown): string {
  const { message, cause } = error as Error;
  return (cause as NodeJS.ErrnoException | undefined)?.code ?? message;
}

function inOrderOf(posts: readonly string[], counts: Counts): Totals[] {
  const byPost = new Map(counts.map(({ post, likes, views }) => [post, { likes, views }]));
  return posts.map((post) => byPost.get(post) ?? { likes: 0, views: 0 });
}
