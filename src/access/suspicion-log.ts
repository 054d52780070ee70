import type { Clock } from '../common/clock.js';

/** An address is logged once in this time for each kind, so that an attack does not fill it. */
const LOGGED_AGAIN_MS = 3_600_000;
/** For kinds that more often hit an office than an attacker. Such an address has hundreds of connections, so they are few. */
const LOGGED_SOON_MS = 60_000;
/** Addresses and kinds remembered at once. Above that the oldest are forgotten and may be logged again. */
const REMEMBERED_MAX = 10_000;

/** The kind of attack that an address is suspected of. A label of `tallycast_suspicious_total`: few, and fixed. */
export type SuspicionKind =
  | 'connections'
  | 'flood'
  | 'fragments'
  | 'handshakes'
  | 'lookups'
  | 'marks'
  | 'new-actors'
  | 'new-posts'
  | 'requests'
  | 'unsigned-posts';

/** For operators: the meaning of each kind, and the setting that changes its limit. */
const EXPLANATIONS: Readonly<Record<SuspicionKind, string>> = {
  connections:
    'opens more connections than it may have, and its pages get errors: raise MAX_CONNECTIONS_PER_ADDRESS if many people share it, or name it in TRUST_PROXY if it is your proxy',
  flood: 'keeps sending too many messages: its connections are closed; see MAX_OPS_PER_ADDRESS',
  fragments: 'sends messages in more fragments than any client needs: its connections are closed',
  handshakes:
    'opens connections and does not finish their handshakes: more of them are rejected, or all of these ended',
  lookups: 'looks up more posts than its connections may watch: further ones are rejected for a while',
  marks: 'begins more sessions or Idempotency-Keys than the store can remember: further ones are rejected for a while',
  'new-actors':
    'likes, or counts in a unique, under more new names than it may: further ones are rejected; see MAX_NEW_ACTORS_PER_ADDRESS',
  'new-posts': 'acts on more new posts than it may: further ones are rejected; see MAX_NEW_POSTS_PER_ADDRESS',
  requests:
    'sends more requests over HTTP than it may: they are rejected, and their connections closed; see MAX_OPS_PER_ADDRESS',
  'unsigned-posts': 'names posts that are not signed with POST_SECRET, which the server of the page has to do',
};

/** Counts likely attacks, for `tallycast_suspicious_total{kind}`, and logs each address once an hour, or once a minute. */
export class SuspicionLog {
  readonly #counts = new Map<SuspicionKind, number>();
  /** When an address was logged for a kind, milliseconds; the oldest come first. */
  readonly #loggedAtMs = new Map<string, number>();

  /** @param warn writes a line to the log */
  constructor(
    private readonly clock: Clock,
    private readonly warn: (message: string) => void,
  ) {}

  /** @param address as AddressLimiter writes it */
  add(kind: SuspicionKind, address: string): void {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
    const name = `${kind} ${address}`;
    const nowMs = this.clock.nowMs();
    const loggedAtMs = this.#loggedAtMs.get(name);
    const againMs = kind === 'connections' ? LOGGED_SOON_MS : LOGGED_AGAIN_MS;
    if (loggedAtMs !== undefined && nowMs - loggedAtMs < againMs) return;
    this.#loggedAtMs.delete(name);
    if (this.#loggedAtMs.size >= REMEMBERED_MAX) {
      for (const first of this.#loggedAtMs.keys()) {
        this.#loggedAtMs.delete(first);
        break;
      }
    }
    this.#loggedAtMs.set(name, nowMs);
    this.warn(`suspicious (${kind}): address ${address} ${EXPLANATIONS[kind]}`);
  }

  entries(): Iterable<readonly [kind: SuspicionKind, count: number]> {
    return this.#counts;
  }
}
