import './regions.css';
import { createLiveCounts, type LiveCounts, LiveCountsError } from 'tallycast-client/widgets';
import { Drill, drillPort, type DrillState } from './drill.js';
import { connectPage, find, say, showState } from './page.js';
import { windowNumber } from './random-actor.js';

type LiveElement = HTMLElement & { live: LiveCounts | undefined };

const START =
  'A gateway cannot pull its own cables: npm run drill -- --page starts three regions, and says where this page is.';
const ENDED = 'The drill that this page belongs to has ended: npm run drill -- --page starts another.';

/** One region: its own gateway, and an actor that likes there. */
class Pane {
  readonly #live: LiveCounts;
  readonly #post: string;
  /** Likes and views, as this region has them; `''` before it has said so. */
  shown = '';

  constructor(name: string, url: string, actor: string, post: string, changed: () => void) {
    this.#post = post;
    const section = find(`#${name}`);
    this.#live = createLiveCounts(url, { actor });
    for (const widget of section.querySelectorAll<LiveElement>('live-count, live-like')) {
      widget.live = this.#live;
      widget.setAttribute('post', post);
    }
    this.#live.post(post).subscribe(({ counts }) => {
      this.shown = `${counts.likes} ${counts.views}`;
      changed();
    });
    find(`[data-testid=view-${name}]`, section).addEventListener('click', () => void this.#view());
    showState(this.#live, find(`[data-testid=state-${name}]`, section));
  }

  async #view(): Promise<void> {
    try {
      await this.#live.post(this.#post).view();
    } catch (error) {
      // What does not count any more is taken back on the screen, which is all there is to say here.
      if (!(error instanceof LiveCountsError)) throw error;
    }
  }
}

/** The three regions and the cables between them, as the drill has them. */
class Board {
  readonly #panes: readonly Pane[];
  readonly #cables = [...document.querySelectorAll<HTMLElement>('.cable')].map((button) => {
    return { button, one: button.dataset['one']!, other: button.dataset['other']! };
  });
  #isCut: (one: string, other: string) => boolean = () => false;
  #mendedMs = 0;
  /** How long they took to agree, the last time that they were cut off; `null`: they do not, or never were. */
  #tookMs: number | null = null;
  #waiting = false;

  constructor({ regions }: DrillState, drill: Drill) {
    find('.board').hidden = false;
    // A window is three people of its own; a reload finds them again.
    this.#panes = regions.map(
      ({ name, url }, i) => new Pane(name, url, `${windowNumber()}${i}`, post, () => this.#tell()),
    );
    for (const { button, one, other } of this.#cables) {
      button.addEventListener('click', () => drill.cut(one, other, !this.#isCut(one, other)));
    }
  }

  show({ cables }: DrillState): void {
    this.#isCut = (one, other) =>
      cables.some(({ from, to, cut }) => cut && [one, other].includes(from) && [one, other].includes(to));
    for (const { button, one, other } of this.#cables) {
      button.setAttribute('aria-pressed', String(this.#isCut(one, other)));
    }
    const cut = this.#cut().length > 0;
    if (!cut && this.#waiting) this.#mendedMs = performance.now();
    if (cut) {
      this.#waiting = true;
      this.#tookMs = null;
      this.#mendedMs = 0;
    }
    this.#tell();
  }

  #cut(): readonly (readonly [string, string])[] {
    return this.#cables.filter(({ one, other }) => this.#isCut(one, other)).map(({ one, other }) => [one, other]);
  }

  #tell(): void {
    const agree = this.#panes.every(({ shown }) => shown !== '' && shown === this.#panes[0]!.shown);
    if (agree && this.#waiting && this.#mendedMs > 0) {
      this.#tookMs = performance.now() - this.#mendedMs;
      this.#waiting = false;
    }
    const story = find('[data-testid=story]');
    story.dataset['agree'] = String(agree);
    say(story, this.#story(agree));
  }

  #story(agree: boolean): string {
    const cut = this.#cut();
    if (cut.length === 0) {
      if (!agree) return 'All cables are in. The regions are telling each other what they have counted.';
      if (this.#tookMs === null) return 'All three agree. What one counts, the others show a moment later.';
      return `All three agree, ${(this.#tookMs / 1_000).toFixed(1)} s after the last cable was plugged in.`;
    }
    const end = agree ? 'Count on each side.' : 'They differ, and will agree when they hear of each other.';
    if (cut.length === this.#cables.length) return `Each region is alone, and goes on counting. ${end}`;
    const alone = [...new Set(cut.flat())].filter((name) => cut.flat().filter((one) => one === name).length > 1);
    if (alone.length > 0) return `${alone.join()} is cut off from both others, and goes on counting. ${end}`;
    return `${cut.flat().join(' and ')} do not hear of each other, and both go on counting. ${end}`;
  }
}

const post = new URLSearchParams(location.search).get('post') ?? 'regions';
// Nothing on the page itself keeps the client of its header awake.
connectPage()
  .post(post)
  .subscribe(() => undefined);
const port = drillPort();
if (port === null) say(find('[data-testid=story]'), START);
else {
  let board: Board | undefined;
  const drill = new Drill(
    port,
    (state) => {
      board ??= new Board(state, drill);
      board.show(state);
    },
    () => {
      find('.board').hidden = true;
      say(find('[data-testid=story]'), ENDED);
    },
  );
}
