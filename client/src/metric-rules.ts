import type { MetricRules as ReceivedRules } from '../../src/protocol/messages.js';
import type { ClientOperation } from './transport.js';

type Effect = Pick<ClientOperation, 'metric' | 'value'>;

/** The gateway's rules, as far as a client must know what an operation does before it is counted. */
export class MetricRules {
  /** Undefined until a gateway has sent its rules. */
  #groups: ReadonlyMap<string, readonly string[]> | undefined;
  #uniques: readonly string[] = [];

  receive({ choices = {}, uniques = [] }: ReceivedRules): void {
    this.#groups = new Map(Object.entries(choices));
    this.#uniques = uniques;
  }

  /** In the order of the gateway's settings; empty if the group is unknown, or unknown yet. */
  options(group: string): readonly string[] {
    return this.#groups?.get(group) ?? [];
  }

  /** @returns what is wrong with an option; undefined if it is one, or if the rules are still unknown */
  explainUnknown(option: string): string | undefined {
    if (!this.#groups || this.#optionsBeside(option).length > 0) return undefined;
    const known = Array.from(this.#groups, ([group, options]) => `${group}: ${options.join(', ')}`);
    return `"${option}" is not an option; the options of this gateway are ${known.join('; ') || 'none'}`;
  }

  /** The metrics that may change with an operation, its own first: turning an option on turns the others of its group off. */
  affected({ metric, value }: Effect): readonly string[] {
    const others = value === true ? this.#optionsBeside(metric).filter((option) => option !== metric) : [];
    return [metric, ...others];
  }

  /** @returns the state that an operation gives to a metric, or the number that it adds; undefined if it does neither for certain */
  effectOn(metric: string, operation: Effect): boolean | number | undefined {
    if (metric !== operation.metric) return this.affected(operation).includes(metric) ? false : undefined;
    // The gateway may have counted this actor before. Then an addition would show, and be taken back.
    return this.#uniques.includes(metric) ? undefined : operation.value;
  }

  /** All options of the group of an option; empty for other metrics. */
  #optionsBeside(option: string): readonly string[] {
    for (const options of this.#groups?.values() ?? []) if (options.includes(option)) return options;
    return [];
  }
}
