const REPORTED_MAX = 10;

/**
 * Reports proxies that TRUST_PROXY does not list: the gateway takes all of their clients for one address. A client may also
 * have written the header itself, which a log cannot tell apart.
 */
export class UnlistedProxies {
  readonly #reported = new Set<string>();

  /** @param warn writes a line to the log */
  constructor(
    private readonly trustProxy: readonly string[],
    private readonly warn: (message: string) => void,
  ) {}

  /** Logs each network once, and ten at most. @param network as AddressLimiter writes it */
  report(network: string, header: 'X-Forwarded-For' | 'Forwarded', isLoopback: boolean): void {
    if (this.#reported.size >= REPORTED_MAX || this.#reported.has(network)) return;
    this.#reported.add(network);
    const all = [...this.trustProxy, isLoopback ? 'loopback' : network].join(',');
    const effect = isLoopback ? 'its clients have no limits by address' : 'its clients share the limits of one address';
    const remedy = header === 'Forwarded' ? 'let it send X-Forwarded-For instead, and set' : 'set';
    this.warn(
      `${network} sends ${header}, and TRUST_PROXY does not list it: ${effect}; if it is your proxy, ${remedy} TRUST_PROXY=${all}`,
    );
  }
}
