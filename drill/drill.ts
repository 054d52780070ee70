import { setTimeout as pause } from 'node:timers/promises';
import { sumAcknowledged, Player, POST } from './players.js';
import type { Counts, Deployment, RegionLink, Region } from './regions.js';
import type { Scene, Screen } from './screen.js';
import { PHASES, type Phase, type PhaseResult } from './script.js';

/** Limit for the agreement of all regions. */
const AGREEMENT_LIMIT_MS = 15_000;
const POLL_MS = 10;
const DRAW_MS = 200;
/** Intervals between operations, different in each region, so that counts drift apart. */
const INTERVALS_MS = [35, 60, 110];

/** Plays the script and draws the counts. */
export class Drill {
  readonly #regions: readonly { readonly region: Region; readonly player: Player }[];
  readonly #shown = new Map<string, Counts>();
  readonly #links = new Map<string, readonly RegionLink[]>();
  readonly #results: PhaseResult[] = [];
  readonly #startedMs = performance.now();
  #title = '';
  #isOver = false;

  constructor(
    private readonly deployment: Deployment,
    private readonly screen: Screen,
    private readonly phaseMs: number,
  ) {
    this.#regions = deployment.regions.map((region, i) => ({ region, player: new Player(region, INTERVALS_MS[i]!) }));
  }

  async play(): Promise<readonly PhaseResult[]> {
    await Promise.all([this.#playPhases(), this.#drawRepeatedly()]);
    await this.#draw();
    return this.#results;
  }

  async #playPhases(): Promise<void> {
    try {
      for (const phase of PHASES) this.#results.push(await this.#playPhase(phase));
    } finally {
      this.#isOver = true;
    }
  }

  async #playPhase({ title, cut }: Phase): Promise<PhaseResult> {
    this.#title = title;
    const { cables } = this.deployment;
    for (const cable of cables) {
      const how = cut(cable);
      if (how !== null) cable.cut(how);
    }
    for (const { player } of this.#regions) player.start();
    await pause(this.phaseMs);
    await Promise.all(this.#regions.map(({ player }) => player.stop()));
    await this.#readCounts();
    const apart = this.#maxDifference();
    for (const cable of cables) cable.mend();
    const agreedMs = await this.#measureAgreement();
    return {
      title,
      apart,
      agreedMs,
      acknowledged: this.#sumAcknowledged(),
      shown: this.#regions.map(({ region }) => ({ name: region.name, ...this.#shown.get(region.name)! })),
    };
  }

  async #measureAgreement(): Promise<number | null> {
    const mendedMs = performance.now();
    for (;;) {
      await this.#readCounts();
      const ms = performance.now() - mendedMs;
      if (this.#maxDifference() === 0) return ms;
      if (ms > AGREEMENT_LIMIT_MS) return null;
      await pause(POLL_MS);
    }
  }

  #sumAcknowledged(): Counts {
    return sumAcknowledged(this.#regions.map(({ player }) => player));
  }

  #maxDifference(): number {
    const { likes, views } = this.#sumAcknowledged();
    const missing = [...this.#shown.values()].map(
      (shown) => Math.abs(likes - shown.likes) + Math.abs(views - shown.views),
    );
    return Math.max(...missing);
  }

  async #readCounts(): Promise<void> {
    await Promise.all(
      this.#regions.map(async ({ region }) => this.#shown.set(region.name, await region.readCounts(POST))),
    );
  }

  async #drawRepeatedly(): Promise<void> {
    while (!this.#isOver) {
      await this.#draw();
      await pause(DRAW_MS);
    }
  }

  async #draw(): Promise<void> {
    await this.#readCounts();
    await Promise.all(this.#regions.map(async ({ region }) => this.#links.set(region.name, await region.readLinks())));
    this.screen.draw(this.#makeScene());
  }

  #makeScene(): Scene {
    return {
      title: this.#title,
      seconds: (performance.now() - this.#startedMs) / 1_000,
      acknowledged: this.#sumAcknowledged(),
      regions: this.#regions.map(({ region: { name }, player }) => {
        return { name, shown: this.#shown.get(name)!, counted: player.counted };
      }),
      cables: this.deployment.cables.map(({ from, to, isCut }) => {
        const { lagSeconds } = this.#links.get(from)!.find(({ region }) => region === to)!;
        return { from, to, isCut, lagSeconds };
      }),
      results: this.#results,
    };
  }
}
