import type { Load } from './arguments.js';
import type { Summary } from './figures.js';
import { countDoubled, countLost, type Mistake } from './ledger.js';
import type { ViewerComparison } from './messages.js';
import { formatWhole } from './numbers.js';

/** The facts for a verdict. */
export interface Evidence {
  readonly load: Load;
  readonly summary: Summary;
  /** null: the gateway's totals could not be read at the end. */
  readonly mistakes: readonly Mistake[] | null;
  /** null: the threads could not compare. */
  readonly shown: ViewerComparison | null;
  readonly unanswered: number;
  readonly unsent: number;
}

export interface Verdict {
  readonly isExact: boolean;
  readonly lost: number;
  readonly doubled: number;
  /** For people; the first line is the summary. */
  readonly lines: readonly string[];
}

const LISTED_MAX = 10;
/** Below this share of the offered rate, the gateway or this program did not keep up. */
const KEPT_UP_SHARE = 0.98;
/** Above this delay, latencies are those of this program rather than of the gateway. */
const LAG_MAX_MS = 50;

export function judge(evidence: Evidence): Verdict {
  const { mistakes, shown } = evidence;
  const sum = (count: (mistake: Mistake) => number): number =>
    (mistakes ?? []).reduce((total, mistake) => total + count(mistake), 0);
  const verdict = { lost: sum(countLost), doubled: sum(countDoubled) };
  const areCountsExact = mistakes?.length === 0;
  const areViewersRight = shown !== null && shown.stale + shown.adrift + shown.backwards === 0;
  return {
    isExact: areCountsExact && areViewersRight,
    ...verdict,
    lines: [
      countsLine(evidence, verdict),
      ...(mistakes ?? []).slice(0, LISTED_MAX).map(mistakeLine),
      ...(areCountsExact && !areViewersRight ? ['NOT EXACT: some viewers show other counts'] : []),
      viewersLine(evidence),
      ...loadLines(evidence),
    ],
  };
}

function countsLine({ mistakes, summary, unanswered }: Evidence, sums: { lost: number; doubled: number }): string {
  if (mistakes === null) return "UNKNOWN: the gateway's totals could not be read at the end";
  const unknown =
    unanswered === 0 ? '' : `, ${formatWhole(unanswered)} not acknowledged, which may or may not be counted`;
  const details = `${formatWhole(sums.lost)} lost, ${formatWhole(sums.doubled)} doubled${unknown}`;
  const label = mistakes.length === 0 ? 'EXACT' : 'NOT EXACT';
  return `${label}: ${formatWhole(summary.acknowledged)} operations acknowledged, ${details}`;
}

function mistakeLine({ post, metric, expected: { min, max }, counted }: Mistake): string {
  const expected = min === max ? formatWhole(min) : `${formatWhole(min)} to ${formatWhole(max)}`;
  return `  ${post}: ${metric} changed by ${formatWhole(counted)} instead of ${expected}`;
}

function viewersLine({ load, shown }: Evidence): string {
  if (shown === null) return 'viewers: not compared';
  if (load.viewers === 0) return 'viewers: none';
  const { stale, staleExamples, read, adrift, backwards } = shown;
  const examples = stale === 0 ? '' : ` (of ${staleExamples.join(', ')})`;
  return (
    `viewers: ${formatWhole(load.viewers - stale)} of ${formatWhole(load.viewers)} show the final totals, stale: ${formatWhole(stale)}${examples}; ` +
    `of the ${formatWhole(read)} whose frames were all read, sums of d wrong: ${formatWhole(adrift)}, went backwards: ${formatWhole(backwards)}`
  );
}

function loadLines({ summary, unsent }: Evidence): string[] {
  const { offeredPerS, acknowledgedPerS, shed, duplicates, lagMaxMs } = summary;
  const lines: string[] = [];
  if (offeredPerS !== null && acknowledgedPerS !== null && acknowledgedPerS < offeredPerS * KEPT_UP_SHARE) {
    lines.push(`not kept up: offered ${formatWhole(offeredPerS)}/s, acknowledged ${formatWhole(acknowledgedPerS)}/s`);
  }
  if (duplicates > 0)
    lines.push(`${formatWhole(duplicates)} operations were resent because their acknowledgement was lost`);
  if (shed > 0) lines.push(`${formatWhole(shed)} operations were shed: their connection had 1,000 unacknowledged ones`);
  if (unsent > 0)
    lines.push(
      `${formatWhole(unsent)} operations could not be sent before the end, and are not expected in the counts`,
    );
  if (lagMaxMs > LAG_MAX_MS) {
    lines.push(
      `the event-loop delay of this program reached ${formatWhole(lagMaxMs)} ms: latencies may be too high by as much; ` +
        `use more --threads or another machine`,
    );
  }
  return lines;
}
