import { Inject, Injectable } from '@nestjs/common';
import type { IncomingMessage } from 'node:http';
import { AddressLimiter } from '../../access/address-limiter.js';
import { Authenticator, type Identity, type Visitor } from '../../access/authenticator.js';
import { BotFilter } from '../../access/bot-filter.js';
import { type ClientCreations, CreationLimiter } from '../../access/creation-limiter.js';
import { GuestPolicy } from '../../access/guest-policy.js';
import { INVALID_COST } from '../../access/message-budget.js';
import { toSessionKey } from '../../access/name-hashing.js';
import { PostSignatureVerifier } from '../../access/post-signature-verifier.js';
import { type Clock, readSecond } from '../../common/clock.js';
import { CLOCK, DATA_CLOCK, EVENT_INTAKE, SETTINGS } from '../../config/injection-tokens.js';
import type { Settings } from '../../config/settings.js';
import { computeTokenCost } from '../../counters/operation.js';
import type { AcceptedEvent, EventIntake } from '../../ingest/event-intake.js';
import { OperationCounts } from '../../ingest/operation-counts.js';
import { type ErrorBody, ProtocolError, throwIfError } from '../../protocol/errors.js';
import type { EventList } from '../../protocol/http-request-schemas.js';
import { mergeCredentials, parseCredentials } from '../parameters.js';
import { EventParser, type EventSource } from './event-parser.js';

type ParsedEvent = AcceptedEvent | ErrorBody;

interface EventClient extends EventSource {
  readonly address: string;
  /** Whether what the client adds is not counted. */
  readonly isBot: boolean;
  /** `null` where the address has no limits. */
  readonly creations: ClientCreations | null;
}

/** Identifies the client of a request, applies the limits of a PUT to each event, and passes them on. */
@Injectable()
export class EventAcceptor {
  constructor(
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(CLOCK) private readonly clock: Clock,
    @Inject(DATA_CLOCK) private readonly dataClock: Clock,
    @Inject(EVENT_INTAKE) private readonly intake: EventIntake,
    @Inject(AddressLimiter) private readonly addresses: AddressLimiter,
    @Inject(CreationLimiter) private readonly creationLimiter: CreationLimiter,
    @Inject(PostSignatureVerifier) private readonly postSignatures: PostSignatureVerifier | null,
    @Inject(Authenticator) private readonly authenticator: Authenticator,
    @Inject(BotFilter) private readonly bots: BotFilter,
    @Inject(GuestPolicy) private readonly guests: GuestPolicy,
    @Inject(OperationCounts) private readonly counts: OperationCounts,
  ) {}

  /**
   * @param readList reads the events; may throw a ProtocolError
   * @returns `null` for each event that is kept, else its error
   * @throws ProtocolError for the request as a whole
   */
  async accept(
    request: IncomingMessage,
    readList: (address: string) => EventList | Promise<EventList>,
  ): Promise<readonly (ErrorBody | null)[]> {
    const address = this.addresses.addressOf(request);
    const { client, events } = await this.#parse(request, address, readList);
    this.#takeTokens(address, events);
    const results = this.#leaveOutAdditions(client, this.#admitAll(client, events));
    const admitted = results.filter((result): result is AcceptedEvent => result !== null && !isError(result));
    const outcomes = await this.intake.accept(admitted);
    if (admitted.length === results.length) return outcomes;
    const kept = outcomes.values();
    return results.map((result) => (result === null || isError(result) ? result : kept.next().value!));
  }

  async #parse(
    request: IncomingMessage,
    address: string,
    readList: (address: string) => EventList | Promise<EventList>,
  ): Promise<{ client: EventClient; events: readonly ParsedEvent[] }> {
    try {
      const list = await readList(address);
      const visitor = { address, userAgent: request.headers['user-agent'] };
      const credentials = mergeCredentials(parseCredentials(request.headers), list);
      const identity = await this.authenticator.identifySender(credentials, visitor);
      throwIfError(this.guests.findRejectionOfAll(identity));
      const client = this.#openClient(visitor, identity, list);
      const parser = new EventParser(client, this.settings.metrics);
      return { client, events: list.events.map((value) => this.#parseEvent(parser, value, address)) };
    } catch (error) {
      if (error instanceof ProtocolError) this.counts.add('unknown', error.body.code);
      throw error;
    }
  }

  #openClient({ address, userAgent }: Visitor, identity: Identity, { session, automated }: EventList): EventClient {
    const creations = this.#openCreations(address, identity);
    return {
      address,
      isBot: this.bots.isBot(userAgent, automated),
      identity,
      session: session === undefined ? null : toSessionKey(identity.actor, session),
      creations,
      atS: readSecond(this.dataClock),
      onCounts: creations && ((outcome, counts) => creations.chargeNewPost(outcome, counts)),
    };
  }

  #parseEvent(parser: EventParser, value: unknown, address: string): ParsedEvent {
    const event = parser.parse(value);
    if (!isError(event)) return event;
    this.counts.add('unknown', event.code);
    // Describing an error costs as much as a message, and a request has room for hundreds.
    const waitMs = this.addresses.messageTokenBucket(address)?.take(this.clock.nowMs(), INVALID_COST) ?? 0;
    if (waitMs > 0) throw new ProtocolError('RATE_LIMITED', 'too many invalid events from your address', waitMs);
    return event;
  }

  /** All or nothing, so that a client need not find out which events it may send again. */
  #takeTokens(address: string, events: readonly ParsedEvent[]): void {
    const tokens = events.reduce((sum, event) => sum + (isError(event) ? 0 : computeTokenCost(event.value)), 0);
    const waitMs = this.addresses.operationTokenBucket(address)?.take(this.clock.nowMs(), tokens) ?? 0;
    if (waitMs === 0) return;
    for (const event of events) if (!isError(event)) this.counts.add(event.kind, 'RATE_LIMITED');
    throw new ProtocolError('RATE_LIMITED', 'too many operations; slow down', waitMs);
  }

  #admitAll(client: EventClient, events: readonly ParsedEvent[]): readonly ParsedEvent[] {
    let behind: ErrorBody | null = null;
    return events.map((event) => {
      if (isError(event)) return event;
      const isInSession = event.session !== null && event.session === client.session;
      // Once a later `seq` is counted, a repetition of the rejected one would count as a duplicate.
      const error: ErrorBody | null = (isInSession ? behind : null) ?? this.#admit(client, event, isInSession);
      if (error === null) return client.creations?.isKnown(event.post) === true ? { ...event, onCounts: null } : event;
      if (isInSession && error.retryable) behind = error;
      this.counts.add(event.kind, error.code);
      return error;
    });
  }

  #openCreations(address: string, { key, isVerified }: Identity): ClientCreations | null {
    return this.creationLimiter.openClient(address, isVerified ? null : key, true);
  }

  /** @returns `null` in place of additions of a bot, which are accepted and not counted */
  #leaveOutAdditions({ isBot }: EventClient, events: readonly ParsedEvent[]): readonly (ParsedEvent | null)[] {
    if (!isBot) return events;
    const { list } = this.settings.metrics;
    const counted = events.map((event) => (isError(event) || list[event.metric]!.kind.event === 'set' ? event : null));
    this.bots.leaveOut(counted.filter((event) => event === null).length);
    return counted;
  }

  #admit({ address, identity, creations }: EventClient, event: AcceptedEvent, isInSession: boolean): ErrorBody | null {
    const { post, metric, kind, session } = event;
    const unauthorized = this.guests.findRejection(identity, this.settings.metrics.list[metric]!);
    const rejection = unauthorized ?? this.postSignatures?.check(post, address) ?? null;
    if (rejection !== null) return rejection;
    // Each key leaves a mark of its own, as that of a request of its own does.
    const isKeyed = session !== null && !isInSession;
    const creator = isKeyed ? this.#openCreations(address, identity) : creations;
    return creator?.admit(kind, post, session !== null) ?? null;
  }
}

function isError(event: ParsedEvent): event is ErrorBody {
  return 'code' in event;
}
