import type { Environment } from './environment.js';
import { type PostedEvent, readActor, toBody, toEvents } from './posted-events.js';
import type { Session } from './session.js';
import type { Credentials } from './transport.js';

const NAME_PREFIX = 'tallycast.unsent.';
/** While the gateway is down each page load adds an entry; the site's own data needs the storage, too. */
const STORED_ITEMS_MAX = 500;
/** Gateways recognise a repetition for an hour; 10 min less, to allow for clocks and for events that wait in a log. */
const KEPT_MS = 50 * 60_000;
/** Browsers allow 64 KiB for all requests that outlive a page. A tenth less: some characters take several bytes. */
const BODY_MAX = 58_000;

/** The unacknowledged operations of a session. It has no token, because other scripts of the site can read the storage. */
interface UnsentEntry {
  /** The address of the gateway for events. */
  readonly url: string;
  readonly actor: string;
  /** When the first of the events was sent for the first time. */
  readonly atMs: number;
  /** In the order of their seq, without a gap at the beginning: nothing may be counted before an earlier one. */
  readonly events: readonly PostedEvent[];
}

/**
 * Lets no operation be lost when its page is hidden or closed:
 *
 *     hidden or left          everything unacknowledged is sent in one request that outlives the page, and is stored
 *     all of it acknowledged  the entry in the storage is removed
 *     a client connects       it sends the entries of its actor, and removes those that the gateway has taken
 *
 * These requests acknowledge nothing: a gateway with a log takes events before it counts them, and a later seq over a socket
 * would overtake them. If the page comes back, its connection sends all of them again. So an operation may be sent by
 * several requests and connections, in any order and at the same time, always with the session and seq, or the keys, of its
 * first attempt: the gateway counts it once. Each of them begins with the first unacknowledged operation, so that nothing
 * is counted before an earlier one. That is why an entry need not tell whether its page still lives: sending it is harmless,
 * also while the page is only hidden or has come back.
 */
export class LeavingPage {
  readonly #storage: Environment['storage'];
  /** Operations up to this seq have left: they were sent and stored, as far as they were unacknowledged. */
  #leftSeq = 0;

  constructor(
    /** The address for events. */
    private readonly url: string,
    private readonly environment: Environment,
    private readonly session: Pick<Session, 'unacknowledged' | 'markAllSent'>,
  ) {
    this.#storage = environment.page && environment.storage;
  }

  /**
   * The page is hidden or left. Does nothing unless there are operations that have not left.
   * @param comesBack whether a later visit may be that of the same actor
   */
  leave(credentials: Credentials, comesBack: boolean): void {
    const { unacknowledged } = this.session;
    const lastSeq = unacknowledged.at(-1)?.seq ?? 0;
    if (lastSeq <= this.#leftSeq) return;
    this.session.markAllSent();
    this.#leftSeq = unacknowledged.at(-1)!.seq;
    const events = toEvents(unacknowledged, credentials.session);
    if (comesBack) this.#store(credentials, { url: this.url, atMs: unacknowledged[0]!.sentAtMs, events });
    let body = toBody(credentials, events);
    while (body.length > BODY_MAX && events.pop()) body = toBody(credentials, events);
    const { sendBeacon, fetch } = this.environment;
    if (sendBeacon) sendBeacon(this.url, body);
    else fetch(this.url, { method: 'POST', body, keepalive: true }).catch(() => undefined);
  }

  /** An operation was acknowledged or refused. The entry stays until that is so for all of its operations. */
  update(credentials: Credentials): void {
    const firstSeq = this.session.unacknowledged[0]?.seq ?? Infinity;
    if (this.#leftSeq === 0 || firstSeq <= this.#leftSeq) return;
    this.#leftSeq = 0;
    this.#storage?.removeItem(NAME_PREFIX + credentials.session);
  }

  /** Sends what other pages of this actor have left. Called when connected. */
  resend(credentials: Credentials): void {
    for (let i = this.#storage?.length ?? 0; i--;) this.#resendEntry(i, credentials).catch(() => undefined);
  }

  #store(credentials: Credentials, entry: Omit<UnsentEntry, 'actor'>): void {
    try {
      const actor = readActor(credentials);
      // A client without a name leaves nothing on the visitor's device: the request has to be enough.
      if (actor === undefined) return;
      const text = JSON.stringify({ ...entry, actor });
      if (this.#storage!.length < STORED_ITEMS_MAX) this.#storage!.setItem(NAME_PREFIX + credentials.session, text);
    } catch {
      // There is no storage, it is full, or the token is unreadable: the request has to be enough.
    }
  }

  async #resendEntry(index: number, credentials: Credentials): Promise<void> {
    const storage = this.#storage!;
    const name = storage.key(index)!;
    if (!name.startsWith(NAME_PREFIX)) return;
    const text = storage.getItem(name)!;
    const { url, actor, atMs, events } = JSON.parse(text) as UnsentEntry;
    const session = name.slice(NAME_PREFIX.length);
    // Negative ages are those of a clock that was set back.
    if (Math.abs(this.environment.clock.nowMs() - atMs) > KEPT_MS) return storage.removeItem(name);
    if (url !== this.url || actor !== readActor(credentials) || session === credentials.session) return;
    const body = toBody({ ...credentials, session }, events);
    const answer = await this.environment.fetch(this.url, { method: 'POST', body });
    // 202, or 400 if it rejects all of them for good.
    const isTaken = answer.status <= 400 && !(await answer.text()).includes('"retryable":true');
    // A page that still lives may have added to its entry meanwhile.
    if (isTaken && storage.getItem(name) === text) storage.removeItem(name);
  }
}
