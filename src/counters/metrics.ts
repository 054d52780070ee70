import { groupBy } from '../common/grouping.js';
import { type MetricKind, parseMetricKind } from './metric-kinds.js';

/** One of the counts that a post has. Inside the gateway it is identified by its index in the `METRICS` setting. */
export interface Metric {
  readonly name: string;
  readonly kind: MetricKind;
  readonly index: number;
}

/** Bounds the width of a post's record and the bit set of an actor's toggles. */
export const METRICS_MAX = 16;

/** Bounds what one vote of an actor changes, because all options of its group are updated in all regions. */
export const OPTIONS_MAX = 8;

/** Indexes of the two metrics that every gateway has. */
export const LIKES = 0;
export const VIEWS = 1;

const BEGINNING_RULE =
  'must begin with likes:toggle,views:tally; likes may also be a choice, and views unique or unique@WINDOW; ' +
  'more may follow, e.g. shares:tally,saves:toggle';

export const METRIC_NAME = /^[a-z][a-z0-9_]{0,31}$/;
/** Names that would hide another field of an update, or another path over HTTP. */
const RESERVED: ReadonlySet<string> = new Set('post e v d live mine counter choices uniques updated_at'.split(' '));

export class Metrics {
  readonly #byName: ReadonlyMap<string, Metric>;
  readonly #settable: readonly Metric[];
  /** By metric index: the text before the metric's total in an update. */
  readonly prefixes: readonly string[];
  /** By metric index: the other options of its group; none for most. */
  readonly otherOptions: readonly (readonly number[])[];
  /** The longest window of a unique metric, in seconds; 0: none has a window. */
  readonly longestWindowS: number;

  private constructor(readonly list: readonly Metric[]) {
    this.prefixes = list.map(({ name }) => `,"${name}":`);
    this.#settable = list.filter(({ kind }) => kind.event === 'set');
    this.#byName = new Map(list.map((metric) => [metric.name, metric]));
    this.otherOptions = list.map(({ index, kind: { group } }) =>
      list
        .filter((other) => group !== null && other.kind.group === group && other.index !== index)
        .map((other) => other.index),
    );
    this.longestWindowS = Math.max(...list.map(({ kind }) => kind.windowS));
  }

  /** @returns the names of the toggles and choices in the bit set: `mine` of the actor for whom they are on */
  listMine(on: number): string[] {
    return this.#settable.filter(({ index }) => (on & (1 << index)) !== 0).map(({ name }) => name);
  }

  byName(name: string): Metric | undefined {
    return this.#byName.get(name);
  }

  /** The metrics as stores keep them, e.g. `likes:toggle,views:tally`: equal for settings that may follow each other on the same data. */
  toString(): string {
    return this.list.map(({ name, kind }) => `${name}:${kind.storage}`).join(',');
  }

  /** @throws Error whose message says what would be right */
  static parse(text: string): Metrics {
    if (!/^\s*likes:[^,]*,\s*views:/.test(text)) throw new Error(BEGINNING_RULE);
    const list = text.split(',').map((one, index) => parseMetric(one.trim(), index));
    if (list[LIKES]!.kind.event !== 'set' || list[VIEWS]!.kind.event !== 'add') throw new Error(BEGINNING_RULE);
    if (list.length > METRICS_MAX) throw new Error(`may name at most ${METRICS_MAX} metrics`);
    if (new Set(list.map(({ name }) => name)).size < list.length) throw new Error('names a metric twice');
    for (const [group, options] of groupBy(list, ({ kind }) => kind.group))
      if (group !== null) checkGroup(group, options);
    return new Metrics(list);
  }
}

/** The kinds that a stored metric may have. */
const KINDS_OF_STORAGE: Readonly<Record<string, string>> = {
  toggle: 'toggle, unique or choice@GROUP',
  tally: 'tally or unique@WINDOW',
};

/**
 * @param stored the metrics of the data; @param own those of METRICS, both as `Metrics.toString` has them
 * @returns why METRICS does not fit the data; `null` if it does
 */
export function explainMisfit(stored: string, own: string): string | null {
  const entries = own.split(',');
  for (const [i, entry] of stored.split(',').entries()) {
    if (entries[i] === entry) continue;
    const [name = '', storage = ''] = entry.split(':');
    if (entries[i]?.split(':')[0] === name) {
      return `METRICS: ${name} of this data may be ${KINDS_OF_STORAGE[storage]!}; add another kind under another name, at the end`;
    }
    const names = stored.replaceAll(/:\w+/g, '');
    return `METRICS must begin with ${names}, in this order, as this data does; others may be added at the end`;
  }
  return null;
}

/** @returns why the metric cannot be counted down; `null` if it can */
export function explainNoDecrement({ name, kind }: Pick<Metric, 'name' | 'kind'>): string | null {
  return kind.canDecrement ? null : `${name} is a ${kind.name}, which only grows`;
}

/** @returns how the metric counts actors, for errors of requests that want it otherwise; `null` if it counts without one */
export function explainUnique({ name, kind }: Pick<Metric, 'name' | 'kind'>): string | null {
  if (!kind.isUnique) return null;
  return `${name} is a ${kind.name}, which counts an actor once${kind.windowS === 0 ? '' : ' in a window'}`;
}

function checkGroup(group: string, options: readonly Metric[]): void {
  if (options.length === 1)
    throw new Error(`"${options[0]!.name}" is the only option of the group ${group}: add another`);
  if (options.length > OPTIONS_MAX) throw new Error(`may name at most ${OPTIONS_MAX} options of the group ${group}`);
}

function parseMetric(text: string, index: number): Metric {
  const [name = '', kind = '', ...more] = text.split(':');
  if (more.length > 0) throw new Error(`"${text}": a metric is name:kind, with one colon, such as readers:unique@30m`);
  if (!METRIC_NAME.test(name)) throw new Error(`"${text}": a name is a-z, then up to 31 of a-z 0-9 _`);
  if (RESERVED.has(name)) throw new Error(`"${name}" is the name of another field`);
  try {
    return { name, kind: parseMetricKind(kind), index };
  } catch (error) {
    throw new Error(`"${text}": ${(error as Error).message}`, { cause: error });
  }
}
