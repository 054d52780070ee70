import type { MetricRules as ReceivedRules } from '../../src/protocol/messages.js';
import type { ClientOperation } from './transport.js';

/** The gateway's rules, as far as a client must know what an operation does before it is counted. */
export class MetricRules {
  /** Undefined until a gateway has sent its rules. */
  #choices: ReceivedRules['choices'];
  #uniques: readonly string[] = [];

  receive({ choices = {}, uniques = [] }: ReceivedRules): void {
    this.#choices = choices;
    this.#uniques = uniques;
  }

  /** In the order of the gateway's settings; empty if the group is unknown, or unknown yet. */
  options(group: string): readonly string[] {
    return Object.entries(this.#choices ?? {}).find(([name]) => name === group)?.[1] ?? [];
  }

  /** @returns what is wrong with an option; undefined if it is one, or if the rules are still unknown */
  explainUnknown(option: string): string | undefined {
    if (this.#choices && this.#optionsBeside(option).length === 0)
      return `"${option}" is not an option; the gateway has ${JSON.stringify(this.#choices)}`;
  }

  /** By metric, the state that an operation gives to it or the number that it adds, as far as that is certain. */
  effects({ metric, value }: Pick<ClientOperation, 'metric' | 'value'>): ReadonlyMap<string, boolean | number> {
    // The gateway may have counted this actor before. Then an addition would show, and be taken back.
    if (this.#uniques.includes(metric)) return new Map();
    const others = value === true ? this.#optionsBeside(metric) : [];
    return new Map<string, boolean | number>(others.map((option) => [option, false])).set(metric, value);
  }

  /** All options of the group of an option; empty for other metrics. */
  #optionsBeside(option: string): readonly string[] {
    return Object.values(this.#choices ?? {}).find((options) => options.includes(option)) ?? [];
  }
}
