import { Actor, LIKED_MAX } from './actor.js';
import { Connection, type ConnectionUser } from './connection.js';
import { buildAuth } from './identity.js';
import { Ledger, type Totals } from './ledger.js';
import { formatPostId, formatActorName, type ThreadAssignment, type ViewerComparison } from './messages.js';
import type { Meter } from './meter.js';
import { Random } from './random.js';
import { Screen } from './screen.js';
import { Viewer } from './viewer.js';

/** Connections that are opening at the same time. */
const OPENING_MAX = 50;
/** One viewer in READ_ONE_IN reads and checks every frame, but at least READ_MIN of them do. */
const READ_ONE_IN = 50;
const READ_MIN = 20;
const EXAMPLES_MAX = 5;

/** The connections of a thread. */
export class Crowd {
  readonly actors: readonly Actor[];
  readonly ledger: Ledger;
  /** Connections that have been ready once. */
  ready = 0;
  readonly size: number;
  readonly #viewers: readonly Viewer[];
  readonly #unopened: Connection[] = [];
  readonly #random: Random;
  #allReady: (() => void) | null = null;

  constructor(
    private readonly assignment: ThreadAssignment,
    private readonly meter: Meter,
  ) {
    const { load, thread } = assignment;
    this.#random = new Random(load.seed + thread);
    const posts = Array.from({ length: load.posts }, (_, post) => formatPostId(load, post));
    const screens = new Map<string, Screen>();
    this.#viewers = this.#makeViewers(posts, screens);
    const liked = Math.min(LIKED_MAX, load.posts);
    const numbers = load.likes + load.views === 0 ? [] : this.#numbersBelow(load.actors);
    this.ledger = new Ledger(load.posts, numbers.length * liked);
    const stage = { posts, screens, ledger: this.ledger, meter, random: this.#random };
    this.actors = numbers.map((number, i) => {
      const actor = new Actor((number * liked) % load.posts, i * liked, stage, this.#onceReady());
      const name = formatActorName(assignment, number);
      actor.connection = this.#makeConnection({ ...buildAuth(name), session: name }, actor);
      return actor;
    });
    this.size = this.#unopened.length;
  }

  /** Resolves when all are connected and all viewers have their snapshots. */
  async connect(): Promise<void> {
    if (this.size === 0) return;
    const ready = new Promise<void>((resolve) => (this.#allReady = resolve));
    for (const connection of this.#unopened.splice(0, OPENING_MAX)) connection.open();
    await ready;
  }

  get isIdle(): boolean {
    return this.actors.every((actor) => actor.isIdle);
  }

  /** Compares what the viewers show with these totals. */
  compareViewers(totals: ReadonlyMap<string, Totals>): ViewerComparison {
    const read = this.#viewers.filter((viewer) => viewer.isRead);
    const stale = this.#viewers.map((viewer) => viewer.findStalePost(totals)).filter((post) => post !== null);
    return {
      stale: stale.length,
      staleExamples: stale.slice(0, EXAMPLES_MAX),
      read: read.length,
      adrift: read.filter(({ isAdrift }) => isAdrift).length,
      backwards: read.filter(({ wentBackwards }) => wentBackwards).length,
    };
  }

  /** Each viewer watches the posts from its own number on, so that all posts have as many viewers. */
  #makeViewers(posts: readonly string[], screens: Map<string, Screen>): readonly Viewer[] {
    const { load } = this.assignment;
    const numbers = this.#numbersBelow(load.viewers);
    const read = Math.max(READ_MIN, Math.ceil(numbers.length / READ_ONE_IN));
    return numbers.map((number, i) => {
      const watched = Array.from({ length: load.watch }, (_, j) => posts[(number * load.watch + j) % posts.length]!);
      const own = i < read ? this.#makeScreens(watched, screens) : null;
      const viewer = new Viewer(watched, own, this.meter, this.#onceReady());
      viewer.connection = this.#makeConnection(
        buildAuth(formatActorName(this.assignment, load.actors + number)),
        viewer,
      );
      return viewer;
    });
  }

  /** Makes a screen for each post that no other viewer has one for. */
  #makeScreens(posts: readonly string[], all: Map<string, Screen>): ReadonlyMap<string, Screen> {
    const own = new Map<string, Screen>();
    for (const post of posts) if (!all.has(post)) own.set(post, new Screen((ms) => this.meter.recordScreenLatency(ms)));
    for (const [post, screen] of own) all.set(post, screen);
    return own;
  }

  /** @returns the numbers below `end` that belong to this thread */
  #numbersBelow(end: number): number[] {
    const { load, thread } = this.assignment;
    return Array.from(
      { length: Math.ceil(Math.max(0, end - thread) / load.threads) },
      (_, i) => thread + i * load.threads,
    );
  }

  #makeConnection(auth: object, user: ConnectionUser): Connection {
    const connection = new Connection(this.assignment.load.url, auth, user, this.meter, this.#random);
    this.#unopened.push(connection);
    return connection;
  }

  /** @returns a callback that counts the first call only; reconnects call it again */
  #onceReady(): () => void {
    let isReady = false;
    return () => {
      if (isReady) return;
      isReady = true;
      this.ready += 1;
      this.#unopened.shift()?.open();
      if (this.ready === this.size) this.#allReady?.();
    };
  }
}
