import type { Ledger, Metric } from './ledger.js';
import { find, gatewayUrl, setText } from './page.js';
import { pause } from './reader.js';

const INTERVAL_MS = 2_000;
/** Between looks for the first acknowledgement, and for a moment when no operation is on its way. */
const RETRY_MS = 100;
const ATTEMPTS = 8;
const ALL: readonly Metric[] = ['likes', 'views'];
const number = new Intl.NumberFormat('en');

type Counts = Readonly<Record<Metric, number>>;

/** Compares again and again what the ledger has with what the gateway counts for the post, and shows both. */
export async function compareForever(ledger: Ledger, post: string): Promise<never> {
  for (;;) {
    if (!document.hidden) {
      try {
        await compare(ledger, post);
      } catch {
        show('sum-note', 'The gateway does not answer. This page keeps its operations and sends them when it does.');
      }
    }
    await pause(ledger.acknowledged(ALL) === 0 ? RETRY_MS : INTERVAL_MS);
  }
}

async function compare(ledger: Ledger, post: string): Promise<void> {
  for (let left = ATTEMPTS; ; left--) {
    const acknowledged = ledger.acknowledged(ALL);
    // There is nothing to compare yet.
    if (acknowledged === 0) return;
    const likes = ledger.acknowledged(['likes']);
    const [endLikes, endAll] = [ledger.startReading(['likes']), ledger.startReading(ALL)];
    const counts = await readCounts(post);
    const countsViews = counts.views > 0 || acknowledged === likes;
    const counted = countsViews ? counts.likes + counts.views : counts.likes;
    const made = countsViews ? acknowledged : likes;
    const { least, most } = countsViews ? endAll() : endLikes();
    const [lost, doubled] = [Math.max(0, least - counted), Math.max(0, counted - most)];
    if (counted !== made && lost + doubled === 0 && left > 0) {
      await pause(RETRY_MS);
      continue;
    }
    return showSum({ made, counted, lost, doubled, onTheirWay: most - least, countsViews });
  }
}

interface Sum {
  readonly made: number;
  readonly counted: number;
  readonly lost: number;
  readonly doubled: number;
  readonly onTheirWay: number;
  readonly countsViews: boolean;
}

function showSum({ made, counted, lost, doubled, onTheirWay, countsViews }: Sum): void {
  for (const [name, value] of Object.entries({ acknowledged: made, counted, lost, doubled })) {
    find(`[data-testid=${name}]`).dataset['value'] = String(value);
    show(name, number.format(value));
  }
  show('sign', made === counted ? '=' : '≠');
  find('[data-testid=sum]').toggleAttribute('data-wrong', lost + doubled > 0);
  const what = countsViews ? 'Likes and views' : 'Likes (views of automated browsers like this one do not count)';
  const way = made === counted ? '' : ` ${number.format(onTheirWay)} more on their way.`;
  show('sum-note', `${what} acknowledged to this page, and counted by the gateway: compared every two seconds.${way}`);
}

function show(name: string, text: string): void {
  setText(find(`[data-testid=${name}]`), text);
}

async function readCounts(post: string): Promise<Counts> {
  const response = await fetch(`${gatewayUrl()}/v1/counts?posts=${post}`);
  const { counts } = (await response.json()) as { counts: readonly [Counts] };
  return counts[0];
}
