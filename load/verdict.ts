import type { Load } from './arguments.js';
import type { Summary } from './figures.js';
import { countDoubled, countLost, type Mistake } from './ledger.js';
import type { ViewerComparison } from './messages.js';
import { formatWhole } from './numbers.js';

/** What there is to judge. */
export interface Evidence {
  readonly load: Load;
  readonly summary: Summary;
  /** null: the gateway could not be asked for its counts in the end. */
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
  /** For people: the first one says it all. */
  readonly lines: readonly string[];
}

const NAMED_MAX = 10;
/** Below this part of what was offered, the gateway (or this program) did not keep up. */
const KEPT_UP = 0.98;
/** Above it, latencies say more about this program than about the gateway. */
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
      ...(mistakes ?? []).slice(0, NAMED_MAX).map(mistakeLine),
      ...(areCountsExact && !areViewersRight ? ['NOT EXACT: some viewers were shown something else'] : []),
      viewersLine(evidence),
      ...loadLines(evidence),
    ],
  };
}

function countsLine({ mistakes, summary, unanswered }: Evidence, sums: { lost: number; doubled: number }): string {
  if (mistakes === null) return 'UNKNOWN: the gateway could not be asked for its counts in the end';
  const unsure = unanswered === 0 ? '' : `, ${formatWhole(unanswered)} never answered, which may or may not be counted`;
  const what = `${formatWhole(sums.lost)} lost, ${formatWhole(sums.doubled)} doubled${unsure}`;
  const word = mistakes.length === 0 ? 'EXACT' : 'NOT EXACT';
  return `${word}: ${formatWhole(summary.acknowledged)} operations acknowledged, ${what}`;
}

function mistakeLine({ post, metric, expected: { min, max }, counted }: Mistake): string {
  const expected = min === max ? formatWhole(min) : `${formatWhole(min)} to ${formatWhole(max)}`;
  return `  ${post}: ${metric} changed by ${formatWhole(counted)}, acknowledged were ${expected}`;
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
  if (offeredPerS !== null && acknowledgedPerS !== null && acknowledgedPerS < offeredPerS * KEPT_UP) {
    lines.push(`not kept up: offered ${formatWhole(offeredPerS)}/s, acknowledged ${formatWhole(acknowledgedPerS)}/s`);
  }
  if (duplicates > 0) lines.push(`${formatWhole(duplicates)} were counted but not answered, and were sent again`);
  if (shed > 0) lines.push(`${formatWhole(shed)} operations were left out: 1,000 of their connection waited already`);
  if (unsent > 0)
    lines.push(`${formatWhole(unsent)} operations could not be sent before the end, and are not counted on`);
  if (lagMaxMs > LAG_MAX_MS) {
    lines.push(
      `this program was kept from its sockets for ${formatWhole(lagMaxMs)} ms at most: latencies are too high by up to that; ` +
        `give it more --threads, or a machine of its own`,
    );
  }
  return lines;
}
