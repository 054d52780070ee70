import { createLiveCounts, type LiveCounts } from 'tallycast-client/widgets';
import { gatewayUrl } from './page.js';
import { pause } from './reader.js';

const PAUSE_MS = 250;

/**
 * Measures the time from an operation to another client's screen, until `over` resolves: views its own post over one
 * connection, and waits until the page's client has the view and an animation frame begins.
 */
export async function runStopwatch(
  screen: LiveCounts,
  over: Promise<unknown>,
  measured: (toScreenMs: number) => void,
): Promise<void> {
  const post = `stopwatch-${Math.random().toString(36).slice(2)}`;
  const live = createLiveCounts(gatewayUrl());
  let awaited = Infinity;
  let shown: () => void = () => undefined;
  const ending = new AbortController();
  void over.then(() => ending.abort());
  const stop = screen.post(post).subscribe(({ counts }) => {
    if (counts.views >= awaited) requestAnimationFrame(shown);
  });
  for (awaited = 1; !ending.signal.aborted; awaited++) {
    const onScreen = new Promise<void>((resolve) => (shown = resolve));
    const sentAt = performance.now();
    // A rejected view never shows: the wait for it ends with the burst.
    live
      .post(post)
      .view()
      .catch(() => undefined);
    await Promise.race([onScreen.then(() => measured(performance.now() - sentAt)), over]);
    await pause(PAUSE_MS);
  }
  stop();
  live.close();
}
