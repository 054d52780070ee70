import { METRIC_KINDS, type MetricKind } from './metric-kinds.js';

/** One of the counts that a post has. Inside the gateway it is identified by its index in the `METRICS` setting. */
export interface Metric {
  readonly name: string;
  readonly kind: MetricKind;
  readonly index: number;
}

/** Bounds the width of a post's record and the bit set of an actor's toggles. */
export const METRICS_MAX = 16;

/** Indexes of the two metrics that every gateway has. */
export const LIKES = 0;
export const VIEWS = 1;

const NAME = /^[a-z][a-z0-9_]{0,31}$/;
/** Names that would hide another field of an update, or another path over HTTP. */
const RESERVED: ReadonlySet<string> = new Set(['post', 'e', 'v', 'd', 'live', 'mine', 'counter']);

export class Metrics {
  readonly #byName: ReadonlyMap<string, Metric>;
  /** By metric index: the text before the metric's total in an update. */
  readonly prefixes: readonly string[];

  private constructor(readonly list: readonly Metric[]) {
    this.prefixes = list.map(({ name }) => `,"${name}":`);
    this.#byName = new Map(list.map((metric) => [metric.name, metric]));
  }

  byName(name: string): Metric | undefined {
    return this.#byName.get(name);
  }

  /** The text of the setting, e.g. `likes:toggle,views:tally`. */
  toString(): string {
    return this.list.map(({ name, kind }) => `${name}:${kind.name}`).join(',');
  }

  /** @throws Error whose message says what would be right */
  static parse(text: string): Metrics {
    const texts = text.split(',').map((one) => one.trim());
    if (texts[LIKES] !== 'likes:toggle' || texts[VIEWS] !== 'views:tally') {
      throw new Error('must begin with likes:toggle,views:tally; more may follow, e.g. shares:tally,saves:toggle');
    }
    if (texts.length > METRICS_MAX) throw new Error(`may name at most ${METRICS_MAX} metrics`);
    const list = texts.map(parseMetric);
    if (new Set(list.map(({ name }) => name)).size < list.length) throw new Error('names a metric twice');
    return new Metrics(list);
  }
}

/** @returns why the metric cannot be counted down; `null` if it can */
export function explainNoDecrement({ name, kind }: Pick<Metric, 'name' | 'kind'>): string | null {
  return kind.canDecrement ? null : `${name} is a ${kind.name}, which only grows`;
}

function parseMetric(text: string, index: number): Metric {
  const [name = '', kindName] = text.split(':');
  if (!NAME.test(name)) throw new Error(`"${text}": a name is a-z, then up to 31 of a-z 0-9 _`);
  if (RESERVED.has(name)) throw new Error(`"${name}" is the name of another field`);
  const kind = METRIC_KINDS.find((one) => one.name === kindName);
  if (kind === undefined) {
    throw new Error(`"${text}": a kind is ${METRIC_KINDS.map((one) => one.name).join(' or ')}`);
  }
  return { name, kind, index };
}
