import './regions.css';
import { createLiveCounts, type LiveCounts, LiveCountsError } from 'tallycast-client/widgets';
import { enableCopy } from './copy.js';
import { Drill, drillPort, type DrillState } from './drill.js';
import { connectPage, find, setText, showState } from './page.js';
import { windowNumber } from './random-actor.js';

type LiveElement = HTMLElement & { live: LiveCounts | undefined };

const ENDED = 'The drill that this page belongs to has ended.';

/** One region: its gateway and an actor that likes there. */
class Pane {
  readonly #live: LiveCounts;
  readonly #post: string;
  /** Likes and views of this region; `''` before its first counts. */
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
      // The widget takes back a rejected view, which is feedback enough.
      if (!(error instanceof LiveCountsError)) throw error;
    }
  }
}

/** The drill's three regions and the cables between them. */
class Board {
  readonly #panes: readonly Pane[];
  readonly #cables = [...document.querySelectorAll<HTMLElement>('.cable')].map((button) => {
    return { button, one: button.dataset['one']!, other: button.dataset['other']! };
  });
  #isCut: (one: string, other: string) => boolean = () => false;
  #mendedMs = 0;
  /** Time that the regions took to agree after the last cut; `null` while they differ or before the first cut. */
  #tookMs: number | null = null;
  #waiting = false;

  constructor({ regions }: DrillState, drill: Drill) {
    find('.board').hidden = find('[data-testid=story]').hidden = false;
    find('.guide').hidden = true;
    // Each window has its own three people; they stay the same after a reload.
    this.#panes = regions.map(
      ({ name, url }, i) => new Pane(name, url, `${windowNumber()}${i}`, post, () => this.#refresh()),
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
    this.#refresh();
  }

  #cut(): readonly (readonly [string, string])[] {
    return this.#cables.filter(({ one, other }) => this.#isCut(one, other)).map(({ one, other }) => [one, other]);
  }

  #refresh(): void {
    const agree = this.#panes.every(({ shown }) => shown !== '' && shown === this.#panes[0]!.shown);
    if (agree && this.#waiting && this.#mendedMs > 0) {
      this.#tookMs = performance.now() - this.#mendedMs;
      this.#waiting = false;
    }
    const story = find('[data-testid=story]');
    story.dataset['agree'] = String(agree);
    setText(story, this.#describe(agree));
  }

  #describe(agree: boolean): string {
    const cut = this.#cut();
    if (cut.length === 0) {
      if (!agree) return 'All cables are in. The regions are exchanging their counts.';
      if (this.#tookMs === null) return 'All three agree. The others show each operation of a region a moment later.';
      return `All three agree, ${(this.#tookMs / 1_000).toFixed(1)} s after the last cable was plugged in.`;
    }
    const end = agree ? 'Count on each side.' : 'They differ, and will agree when they are connected again.';
    if (cut.length === this.#cables.length) return `Each region is alone and continues counting. ${end}`;
    const alone = [...new Set(cut.flat())].filter((name) => cut.flat().filter((one) => one === name).length > 1);
    if (alone.length > 0) return `${alone.join()} is cut off from both others and continues counting. ${end}`;
    return `${cut.flat().join(' and ')} are disconnected, and both continue counting. ${end}`;
  }
}

const post = new URLSearchParams(location.search).get('post') ?? 'regions';
// The client of the header connects only while it has a subscription.
connectPage()
  .post(post)
  .subscribe(() => undefined);
const port = drillPort();
enableCopy(find('#command'));
if (port !== null) {
  let board: Board | undefined;
  const drill = new Drill(
    port,
    (state) => {
      board ??= new Board(state, drill);
      board.show(state);
    },
    () => {
      find('.board').hidden = true;
      find('.guide').hidden = false;
      const story = find('[data-testid=story]');
      story.hidden = false;
      setText(story, ENDED);
    },
  );
}
