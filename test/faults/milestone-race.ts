import type { OperationResponse } from '../../src/protocol/messages.js';
import type { WonMilestoneResponse } from '../../src/http/milestones/milestone-responses.js';
import { type Action, connect, expectOk, type LedgerClient } from '../support/clients.js';
import { armNew, readWinners } from '../support/milestones.js';
import type { Random } from '../support/random.js';

export type RacedMetric = 'views' | 'likes';

/** Many values, so that sums show which operations they are of. */
const BY_MAX = 1_000;
/** Clients act within this time for each of them. With less, batches would be large, and seldom known completely. */
const SPREAD_MS = 2.5;
/** Probability that a client leaves its gateway before it is acknowledged. */
const HOP = 1 / 20;
/** Probability that a client takes its like back, and likes again. */
const FLIP = 1 / 3;
/** Operations that are sent again after the race, besides those of the winners. */
const RETRIES = 3;

/** An operation of a client, and its acknowledgement. */
export interface RacedOperation {
  readonly client: LedgerClient;
  readonly act: Action;
  readonly seq: number;
  /** The change of the total if it is applied. */
  readonly by: number;
  ack: OperationResponse | null;
}

/** Clients of several gateways that count one post, each at its own moment. One of them reaches the milestone. */
export class MilestoneRace {
  readonly milestones: readonly number[];
  /** The total when all operations are counted. */
  readonly sum: number;
  readonly operations: readonly RacedOperation[];
  acknowledged = 0;

  constructor(
    readonly clients: readonly LedgerClient[],
    readonly post: string,
    readonly metric: RacedMetric,
    private readonly random: Random,
  ) {
    this.operations = clients.flatMap((client) =>
      this.#newActs().map((act, i) => {
        const by = act.event === 'add' ? act.by : act.event === 'unlike' ? -1 : 1;
        return { client, act, seq: client.seq + 1 + i, by, ack: null };
      }),
    );
    this.sum = this.operations.reduce((sum, { by }) => sum + by, 0);
    const first = 1 + Math.floor(this.sum * (0.2 + 0.6 * random.next()));
    // One addition mostly reaches the first two, and another one the third.
    this.milestones = [first, first + 1, first + 2 + Math.floor(this.sum / 10)];
  }

  /** Arms the milestones at a gateway. */
  async arm(gateway: string): Promise<void> {
    await armNew(gateway, this.post, this.metric, ...this.milestones);
  }

  /** Resolves when all operations are acknowledged. @param urls of all gateways, for clients */
  async run(urls: readonly string[]): Promise<void> {
    await Promise.all(this.clients.map((client) => this.#act(client, urls)));
  }

  /** Resolves when this share of the operations is acknowledged, from 0 to 1. */
  async untilAcknowledged(share: number): Promise<void> {
    while (this.acknowledged < share * this.operations.length) await pause(10);
  }

  /** Sends operations again that were acknowledged, to any gateway. @returns those whose answer differs from `reached` */
  async retry(reached: readonly WonMilestoneResponse[], urls: readonly string[]): Promise<string[]> {
    const { random, operations } = this;
    const winners = operations.filter((one) => isNamed(one, reached));
    const others = Array.from({ length: RETRIES }, () => random.pick(operations)).filter(
      (one) => !winners.includes(one),
    );
    const wrong: string[] = [];
    for (const operation of [...winners, ...others]) {
      const { duplicate, reached: hasReached = false } = await sendAgain(operation, random.pick(urls));
      if (duplicate && hasReached === winners.includes(operation)) continue;
      wrong.push(`${nameOf(operation)} is answered with duplicate ${duplicate}, reached ${hasReached}`);
    }
    return wrong;
  }

  #newActs(): Action[] {
    const { post, random, metric } = this;
    if (metric === 'views') return [{ event: 'add', post, metric, by: 1 + random.below(BY_MAX) }];
    const like = { event: 'like', post } as const;
    return random.chance(FLIP) ? [like, { event: 'unlike', post }, like] : [like];
  }

  async #act(client: LedgerClient, urls: readonly string[]): Promise<void> {
    const own = this.operations.filter((one) => one.client === client);
    client.onAcknowledged = (ack, act) => {
      const operation = own.find((one) => one.act === act && one.ack === null);
      if (operation === undefined) return;
      operation.ack = ack;
      this.acknowledged += 1;
    };
    await pause(this.random.below(SPREAD_MS * this.clients.length));
    for (const { act } of own) client.act(act);
    if (this.random.chance(HOP)) client.moveTo(this.random.pick(urls));
    await client.untilAcknowledged();
  }
}

/** Reads the milestones of the race at every gateway: as final only if all of them say so. @throws Error if they differ */
export async function readResult(
  { post, metric }: Pick<MilestoneRace, 'post' | 'metric'>,
  urls: readonly string[],
): Promise<readonly WonMilestoneResponse[]> {
  const answers = await Promise.all(urls.map((url) => readWinners(url, post, metric)));
  const texts = new Set(answers.map(({ reached }) => JSON.stringify(reached.map(nameWinner))));
  if (texts.size > 1) throw new Error(`gateways differ in ${post}: ${[...texts].join(' and ')}`);
  const isFinal = ({ reached }: (typeof answers)[number]): boolean => reached.every(({ final }) => final);
  return (answers.find((answer) => !isFinal(answer)) ?? answers[0]!).reached;
}

export function nameWinner({ n, actor, session, seq, value, total, v }: WonMilestoneResponse): string {
  return `${n} by actor ${actor} session ${session} seq ${seq} with ${value} to ${total} at ${v}`;
}

export function isNamed({ client, seq }: RacedOperation, reached: readonly WonMilestoneResponse[]): boolean {
  return reached.some((one) => one.actor === client.actor && one.seq === seq);
}

export function nameOf({ client, seq, by }: RacedOperation): string {
  return `actor ${client.actor} seq ${seq} with ${by}`;
}

async function sendAgain({ client, act, seq }: RacedOperation, url: string): Promise<OperationResponse> {
  const socket = connect(url, client.socket.auth as Record<string, string>);
  try {
    const payload = { post: act.post, seq };
    if (act.event === 'add')
      return expectOk(await socket.emitWithAck('add', { ...payload, metric: act.metric, by: act.by }));
    return expectOk(await socket.emitWithAck(act.event, payload));
  } finally {
    socket.close();
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
