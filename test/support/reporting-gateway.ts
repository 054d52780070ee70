import { PostPresence } from '../../src/fanout/post-presence.js';
import type { RedisClient } from '../../src/store/redis/client/redis-client.js';
import type { ViewerReport } from '../../src/store/redis/codec/viewer-report.js';
import { ReplyDecoder } from '../../src/store/redis/codec/reply-decoder.js';
import { CounterScripts } from '../../src/store/redis/counter-scripts.js';
import { type ReportOutcome, ViewerReports } from '../../src/store/redis/viewer-reports.js';
import { METRICS } from '../contract/operations.js';

interface Connection {
  readonly post: string;
  readonly person: string | null;
  readonly isPresent: boolean;
}

/** A gateway's viewers and their reports. Calls fail as the test says. */
export class ReportingGateway {
  readonly connections: Connection[] = [];
  readonly reports: ViewerReports;
  /** How the next reports end. */
  fault: 'lost' | 'reply lost' | null = null;
  readonly #posts = new Map<string, PostPresence>();
  readonly #scripts: CounterScripts;

  constructor(
    client: RedisClient,
    readonly id: string,
  ) {
    const region = { region: 'local', hasPeers: false, peers: [], nonce: () => 7, wallMs: () => Date.now() };
    const options = { ...region, gateway: id, buckets: 1, metrics: METRICS, publishIntervalMs: 5 };
    this.#scripts = new CounterScripts(client, new ReplyDecoder(METRICS, 'local'), options);
    this.reports = new ViewerReports(1, {
      report: (bucket, report) => this.#report(bucket, report),
      readPage: (bucket, cursor) => this.#scripts.readViewers(bucket, cursor),
    });
  }

  enter(connection: Connection): void {
    this.connections.push(connection);
    this.#postOf(connection.post).enter(connection.person, connection.isPresent);
  }

  leave(index: number): void {
    const last = this.connections.pop()!;
    const left = this.connections[index] ?? last;
    if (left !== last) this.connections[index] = last;
    this.#postOf(left.post).leave(left.person, left.isPresent);
  }

  /** Reports what changed, as presence does four times a second. */
  async announce(): Promise<void> {
    for (const [post, viewers] of this.#posts) {
      this.reports.add(0, post, viewers.takeChange());
      if (viewers.connections === 0) this.#posts.delete(post);
    }
    await this.reports.flush(0);
  }

  async sweep(): Promise<void> {
    const { stored } = await this.#scripts.sweep(0);
    this.reports.checkStored(0, stored);
    await this.reports.flush(0);
  }

  #postOf(post: string): PostPresence {
    let viewers = this.#posts.get(post);
    if (viewers === undefined) this.#posts.set(post, (viewers = new PostPresence(true)));
    return viewers;
  }

  async #report(bucket: number, report: ViewerReport): Promise<ReportOutcome> {
    if (this.fault === 'lost') throw new Error('the report is lost');
    const outcome = await this.#scripts.reportViewers(bucket, report);
    if (this.fault === 'reply lost') throw new Error('the reply is lost');
    return outcome;
  }
}
