import type { IncomingMessage } from 'node:http';
import proxyaddr from 'proxy-addr';
import type { Clock } from '../clock.js';
import { TokenBucket } from './rate-limit.js';

/** Addresses remembered at once; beyond it those that have no connection and a full bucket are forgotten. */
const ADDRESSES_MAX = 100_000;

interface Address {
  connections: number;
  readonly operations: TokenBucket;
}

export interface AddressLimits {
  /** Operations a second; 0: no limit. */
  readonly operations: number;
  /** 0: no limit. */
  readonly connections: number;
  /** Balancers whose X-Forwarded-For is believed. */
  readonly trustProxy: readonly string[];
}

/** Limits by network address. Loopback is spared: a balancer on this host speaks for everyone. */
export class Addresses {
  readonly #addresses = new Map<string, Address>();
  readonly #trust: (address: string, distance: number) => boolean;

  constructor(
    private readonly limits: AddressLimits,
    private readonly clock: Clock,
  ) {
    this.#trust = proxyaddr.compile([...limits.trustProxy]);
  }

  /** The client's address: the peer's, or what trusted balancers say of it. */
  of(request: IncomingMessage): string {
    try {
      return proxyaddr(request, this.#trust);
    } catch {
      return request.socket.remoteAddress ?? '';
    }
  }

  /** The bucket that an address's operations are taken from; `null` when it is spared. */
  operations(address: string): TokenBucket | null {
    return isLoopback(address) ? null : this.#get(address).operations;
  }

  mayConnect(address: string): boolean {
    const max = this.limits.connections;
    return max === 0 || isLoopback(address) || (this.#addresses.get(address)?.connections ?? 0) < max;
  }

  connected(address: string): void {
    if (!isLoopback(address)) this.#get(address).connections += 1;
  }

  disconnected(address: string): void {
    const known = this.#addresses.get(address);
    if (known !== undefined) known.connections -= 1;
  }

  #get(address: string): Address {
    let known = this.#addresses.get(address);
    if (known === undefined) {
      if (this.#addresses.size >= ADDRESSES_MAX) this.#forgetIdle();
      known = { connections: 0, operations: new TokenBucket(this.limits.operations, this.clock.nowMs()) };
      this.#addresses.set(address, known);
    }
    return known;
  }

  #forgetIdle(): void {
    const now = this.clock.nowMs();
    for (const [address, { connections, operations }] of this.#addresses) {
      if (connections === 0 && operations.full(now)) this.#addresses.delete(address);
    }
  }
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.');
}
