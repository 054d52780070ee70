import type { LiveCounts } from 'tallycast-client/widgets';
import { find } from './page.js';
import { pause, readPosts } from './reader.js';

/** Few enough for the default limits of an address: about 12 operations a second, and 30 new actors a minute. */
const READERS = 12;
/** They leave after this time, because a page may stay open for days. */
const VISIT_MS = 180_000;
const ARRIVAL_MS = 3_000;
const READING_MS = 24_000;
const PAUSE_MS = 1_000;

interface Options {
  /** A post that all readers view, whichever they go to. */
  readonly room?: string;
  /** @returns the post that a reader goes to */
  readonly pickPost: () => string;
  readonly watch?: (live: LiveCounts) => LiveCounts;
  readonly acknowledged?: (latencyMs: number) => void;
  readonly mayLike?: () => boolean;
}

/** Lets readers act while the box of the page is checked and the page is visible, for some minutes. */
export function simulateReaders(options: Options): void {
  const box = find('[data-testid=readers]') as HTMLInputElement;
  let leaving: AbortController | undefined;
  let timer: ReturnType<typeof setTimeout>;
  const update = (): void => {
    const isWanted = box.checked && !document.hidden;
    if (isWanted === (leaving !== undefined)) return;
    leaving?.abort();
    leaving = undefined;
    clearTimeout(timer);
    if (!isWanted) return;
    const { signal } = (leaving = new AbortController());
    timer = setTimeout(() => {
      box.checked = false;
      update();
    }, VISIT_MS);
    for (let i = 0; i < READERS; i++) void readAgainAndAgain(options, signal);
  };
  box.addEventListener('change', update);
  document.addEventListener('visibilitychange', update);
  update();
}

/** One reader after another. */
async function readAgainAndAgain(options: Options, leaving: AbortSignal): Promise<void> {
  for (;;) {
    await pause(Math.random() * ARRIVAL_MS);
    if (leaving.aborted) return;
    const readingMs = READING_MS * (0.5 + Math.random());
    await readPosts({
      ...options,
      leaving: AbortSignal.any([leaving, AbortSignal.timeout(readingMs)]),
      pauseMs: PAUSE_MS,
    });
  }
}
