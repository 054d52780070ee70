import type { ArmOptions, ArmRejection } from '../counters/milestones.js';
import type { Metric } from '../counters/metrics.js';
import { ProtocolError } from '../protocol/errors.js';
import type { MilestoneStore, MilestonesView } from '../store/milestone-store.js';

/** The milestones of a metric of a post that are armed, after one was. */
interface Armed {
  /** Whether it was not armed before. */
  readonly isNew: boolean;
  readonly armed: readonly number[];
}

/** How a milestone is decided among regions: see ArmOptions. Without other regions none may be given. */
interface ArmRequest {
  readonly mode?: ArmOptions['mode'] | undefined;
  /** This region. Only if it is given, the region takes over from another one. */
  readonly home?: string | undefined;
  readonly from?: number | undefined;
}

/** The settings that matter to milestones. */
interface MilestoneSettings {
  readonly region: string;
  readonly peers: readonly unknown[];
  /** LOG_URL: counts come through a log in this region. */
  readonly log: unknown;
}

/** The part of another region that arming needs: see DecidingPeer. */
interface ConfirmingPeer {
  readonly region: string;
  /** Rejects if the region does not answer. */
  hasLog(): Promise<boolean>;
}

/** Milestones for operators. */
export class MilestoneAdministration {
  constructor(
    private readonly store: MilestoneStore,
    private readonly settings: MilestoneSettings,
    private readonly peers: readonly ConfirmingPeer[],
  ) {}

  /** @throws ProtocolError */
  async arm(post: string, metric: Metric, n: number, request: ArmRequest = {}): Promise<Armed> {
    const options = this.#checkRequest(metric, n, request);
    if (options?.mode === 'strict') await this.#checkPeers();
    const result = await rejectUnavailable(this.store.arm(post, metric.index, n, options));
    if (result.kind === 'armed') return result;
    throw new ProtocolError('CONFLICT', explain(result, metric.name, n));
  }

  #checkRequest({ name, kind }: Metric, n: number, { mode, home, from }: ArmRequest): ArmOptions | undefined {
    const { region, peers, log } = this.settings;
    if (peers.length === 0) {
      if (mode === undefined && home === undefined && from === undefined) return undefined;
      throw badRequest('mode, home and from must be left out: this gateway has no PEERS');
    }
    const isToggle = kind.storage === 'toggle' && kind.hasMembers && !kind.isUnique;
    const chosen = mode ?? (isToggle ? 'order' : 'strict');
    if (chosen === 'order' && !isToggle) throw badRequest(`mode must be strict: ${name} is no toggle`);
    if (chosen === 'strict' && log !== null)
      throw badRequest(
        'mode must be order: with LOG_URL operations cannot be forwarded; arm strict ones without a log',
      );
    if (home !== undefined && home !== region)
      throw badRequest(
        this.peers.some((peer) => peer.region === home)
          ? `home must be ${region}: to make ${home} the home, send the request to a gateway of ${home}`
          : `home must be ${region}, the region of this gateway: ${home} is not in PEERS`,
      );
    if (from !== undefined && (chosen === 'order' || from >= n))
      throw badRequest('from must be below at, and is only for mode strict');
    return { mode: chosen, ...(from !== undefined && { from }), ...(home !== undefined && { takesOver: true }) };
  }

  /**
   * A region with a log does not confirm the home, so nobody would ever be named. One that does not answer does not confirm, either, and
   * is not a reason to reject a takeover.
   */
  async #checkPeers(): Promise<void> {
    const haveLogs = await Promise.all(this.peers.map((peer) => peer.hasLog().catch(() => false)));
    const names = this.peers.filter((_, i) => haveLogs[i]).map(({ region }) => region);
    if (names.length === 0) return;
    throw badRequest(
      `mode must be order: region ${names.join(', ')} has LOG_URL, and events of a log cannot be forwarded; arm strict ones without a log`,
    );
  }

  /** @throws ProtocolError if another region decides, because what is armed there stays armed */
  async disarm(post: string, metric: Metric, n: number): Promise<void> {
    if (await rejectUnavailable(this.store.disarm(post, metric.index, n))) return;
    const { home } = await this.read(post, metric);
    if (home === null || home.mode === 'released' || home.region === this.settings.region) return;
    throw new ProtocolError(
      'CONFLICT',
      `region ${home.region} decides about ${metric.name} of this post, and ${n} is not armed here: disarm it there`,
    );
  }

  /** @throws ProtocolError */
  read(post: string, metric: Metric): Promise<MilestonesView> {
    return rejectUnavailable(this.store.read(post, metric.index));
  }
}

function badRequest(message: string): ProtocolError {
  return new ProtocolError('BAD_REQUEST', message);
}

function explain(rejection: ArmRejection, metric: string, n: number): string {
  if (rejection.kind === 'passed') return `at must be above ${rejection.total}, the count of ${metric} now`;
  if (rejection.kind === 'reached')
    return `at must be another number: ${metric} reached ${n} before, and its record stays`;
  if (rejection.kind === 'elsewhere')
    return `region ${rejection.home} decides about ${metric} of this post: arm it there, or take over with home`;
  if (rejection.kind === 'choice')
    return `region ${rejection.home} decides about another option of the choice of ${metric}: arm all of them there, or take over with home`;
  if (rejection.kind === 'mode')
    return `${metric} of this post has milestones in mode ${rejection.mode}: set mode to ${rejection.mode}, or disarm them first`;
  const { of, max } = rejection;
  if (of === 'armed')
    return `at most ${max} milestones of ${metric} of this post are armed at a time: disarm one first`;
  if (of === 'bucket')
    return `at most ${max} milestones of a bucket are armed at a time: disarm one of this bucket first`;
  return `at most ${max} milestones of ${metric} of this post are armed or reached, and records stay: disarm one first, or use another post`;
}

/** @throws ProtocolError UNAVAILABLE if the store fails. The call may be repeated: it has the same effect. */
async function rejectUnavailable<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch {
    throw new ProtocolError('UNAVAILABLE', 'the store did not respond in time; retry');
  }
}
