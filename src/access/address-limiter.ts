import type { IncomingMessage } from 'node:http';
import { isIP, SocketAddress } from 'node:net';
import proxyaddr from 'proxy-addr';
import type { Clock } from '../common/clock.js';
import { ADDRESS_BURST_S, toMessageRate, ADDRESS_RATE_MIN } from './message-budget.js';
import { throwIfError, TOO_MANY_CONNECTIONS } from '../protocol/errors.js';
import { TokenBucket } from './rate-limit.js';
import { UnlistedProxies } from './unlisted-proxies.js';

/** Addresses remembered at once, besides those that have a connection. */
const ADDRESSES_MAX = 100_000;
/** Addresses to forget at once when there are too many, so that a flood of addresses does not scan all of them for each. */
const FORGET_AT_LEAST = 1_000;

/** An IPv4 client of a server that listens on IPv6: https://www.rfc-editor.org/rfc/rfc4291#section-2.5.5.2 */
const IPV4_MAPPED = '::ffff:';
/** IPv4 clients of a network that translates: each has its own address. https://www.rfc-editor.org/rfc/rfc6052#section-2.1 */
const NAT64 = '64:ff9b::';

/** Shared by clients whose balancer gives no address, but for example `unknown`. */
export const NO_ADDRESS = 'no address';

/**
 * Tokens that an address may spend on reads, a second and at once: about 450 requests for one post, or ten for 500 posts
 * (src/http/read-limiter.ts). Operations have another bucket, because a page's server may read for all of its visitors.
 */
const READ_TOKENS = 5_000;

/**
 * WebSockets of an address beyond its connections: rejected ones and closing ones, which take up to 2 s. Further upgrades
 * are rejected.
 */
const CLOSING_MAX = 50;
/** TCP connections of an address beyond its connections: for HTTP requests, complete or not. */
const REQUESTING_MAX = 200;

interface AddressState {
  connections: number;
  /** WebSockets, from the request for one until its TCP connection is closed. */
  webSockets: number;
  /** TCP connections that the address has made itself, not through a balancer. */
  tcp: number;
  /** `null` before the first read. */
  reads: TokenBucket | null;
  readonly operations: TokenBucket;
  readonly messages: TokenBucket;
}

/** A connection or a response, which emits its end. */
interface Closable {
  once(event: 'close', listener: () => void): unknown;
}

/** One of the connections that an address may have, until all its sockets and responses are closed. */
export class ConnectionSlot {
  #open = 0;

  /** @param free `null`: the connection is not counted */
  constructor(private readonly free: (() => void) | null) {}

  holdUntilClosed(closable: Closable): void {
    const { free } = this;
    if (free === null) return;
    this.#open += 1;
    closable.once('close', () => {
      this.#open -= 1;
      if (this.#open === 0) free();
    });
  }
}

/** The slot of all connections that are not counted. */
const UNCOUNTED_SLOT = new ConnectionSlot(null);

export interface AddressLimits {
  /** 0: no limit, and no limit on reads. */
  readonly operationsPerSecond: number;
  /** 0: no limit. */
  readonly connectionsMax: number;
  /** Balancers whose X-Forwarded-For is believed. */
  readonly trustProxy: readonly string[];
}

/** Limits by network address. They exempt loopback, because a balancer on this host forwards for everyone. */
export class AddressLimiter {
  readonly #addresses = new Map<string, AddressState>();
  readonly #trust: (address: string, distance: number) => boolean;
  readonly #unlistedProxies: UnlistedProxies;

  /** @param warn writes a line to the log */
  constructor(
    private readonly limits: AddressLimits,
    private readonly clock: Clock,
    warn: (message: string) => void,
  ) {
    this.#trust = proxyaddr.compile([...limits.trustProxy]);
    this.#unlistedProxies = new UnlistedProxies(limits.trustProxy, warn);
  }

  /** @returns the client's address: the peer's, or the one from trusted balancers. For IPv6 the /64, which one client has whole. */
  addressOf({ socket, headers }: IncomingMessage): string {
    const peer = socket.remoteAddress ?? '';
    if (isIP(peer) === 0) return NO_ADDRESS;
    const { 'x-forwarded-for': hops, forwarded } = headers;
    if (hops === undefined && forwarded === undefined) return toNetwork(peer);
    if (!this.#trust(peer, 0)) {
      const network = toNetwork(peer);
      const header = hops === undefined ? 'Forwarded' : 'X-Forwarded-For';
      this.#unlistedProxies.report(network, header, isLoopback(network));
      return network;
    }
    const address = this.#findClient(peer, String(hops ?? ''));
    return isIP(address) === 0 ? NO_ADDRESS : toNetwork(address);
  }

  /** @param peer a trusted balancer */
  #findClient(peer: string, forwardedFor: string): string {
    let address = peer;
    const hops = forwardedFor.split(',').map((hop) => hop.trim());
    const named = hops.filter((hop) => hop !== '').reverse();
    for (const [distance, hop] of named.entries()) {
      const isTrusted = distance === 0 || (isIP(address) !== 0 && this.#trust(address, distance));
      if (!isTrusted) break;
      address = removePort(hop);
    }
    return address;
  }

  /** The token bucket of an address's operations; `null` for exempt addresses. */
  operationTokenBucket(address: string): TokenBucket | null {
    return isLoopback(address) ? null : this.#get(address).operations;
  }

  /** The token bucket of an address's reads; `null` for exempt addresses. */
  readTokenBucket(address: string): TokenBucket | null {
    if (isLoopback(address)) return null;
    const state = this.#get(address);
    return (state.reads ??= new TokenBucket(
      this.limits.operationsPerSecond === 0 ? 0 : READ_TOKENS,
      this.clock.nowMs(),
    ));
  }

  /** The token bucket of an address's messages, rejected ones too; `null` for exempt addresses. */
  messageTokenBucket(address: string): TokenBucket | null {
    return isLoopback(address) ? null : this.#get(address).messages;
  }

  mayConnect(address: string): boolean {
    const max = this.limits.connectionsMax;
    return max === 0 || isLoopback(address) || (this.#addresses.get(address)?.connections ?? 0) < max;
  }

  /** Counts the WebSocket until its TCP connection is closed. @returns false if the address has too many */
  openWebSocket(address: string, tcp: Closable): boolean {
    return this.#open(address, 'webSockets', CLOSING_MAX, tcp);
  }

  /** Counts a TCP connection, unless it is a balancer's. @returns false if the address has too many */
  openTcp(tcp: Closable & { readonly remoteAddress?: string | undefined }): boolean {
    const peer = tcp.remoteAddress ?? '';
    return this.#trust(peer, 0) || this.#open(toNetwork(peer), 'tcp', REQUESTING_MAX, tcp);
  }

  /**
   * Counts the connection for its address until it closes.
   * @returns its slot, which can also wait for other parts of the connection
   * @throws ProtocolError RATE_LIMITED if the address has as many connections as it may
   */
  connect(address: string, connection: Closable): ConnectionSlot {
    throwIfError(this.mayConnect(address) ? null : TOO_MANY_CONNECTIONS);
    if (isLoopback(address)) return UNCOUNTED_SLOT;
    const state = this.#get(address);
    state.connections += 1;
    const slot = new ConnectionSlot(() => (state.connections -= 1));
    slot.holdUntilClosed(connection);
    return slot;
  }

  #open(address: string, kind: 'webSockets' | 'tcp', beyond: number, tcp: Closable): boolean {
    const max = this.limits.connectionsMax;
    if (max === 0 || isLoopback(address)) return true;
    const state = this.#get(address);
    if (state[kind] >= max + beyond) return false;
    state[kind] += 1;
    tcp.once('close', () => (state[kind] -= 1));
    return true;
  }

  #get(address: string): AddressState {
    let state = this.#addresses.get(address);
    if (state === undefined) {
      if (this.#addresses.size >= ADDRESSES_MAX) this.#forgetIdle();
      const now = this.clock.nowMs();
      const rate = toMessageRate(this.limits.operationsPerSecond, ADDRESS_RATE_MIN);
      state = {
        connections: 0,
        webSockets: 0,
        tcp: 0,
        reads: null,
        operations: new TokenBucket(this.limits.operationsPerSecond, now),
        messages: new TokenBucket(rate, now, rate * ADDRESS_BURST_S),
      };
      this.#addresses.set(address, state);
    }
    return state;
  }

  /** Forgets addresses without state; if they are too few, also the oldest without connections. */
  #forgetIdle(): void {
    const now = this.clock.nowMs();
    for (const [address, state] of this.#addresses) {
      const { operations, messages, reads } = state;
      const isFull = operations.isFull(now) && messages.isFull(now) && reads?.isFull(now) !== false;
      if (isIdle(state) && isFull) this.#addresses.delete(address);
    }
    let excess = this.#addresses.size - (ADDRESSES_MAX - FORGET_AT_LEAST);
    for (const [address, state] of this.#addresses) {
      if (excess <= 0) return;
      if (!isIdle(state)) continue;
      this.#addresses.delete(address);
      excess -= 1;
    }
  }
}

/** Some balancers write `198.51.100.1:5678` and `[2001:db8::1]:443`. A zone (`%eth0`) is local to its host. */
function removePort(hop: string): string {
  const [, v6, v4] = /^(?:\[(.*)\](?::\d+)?|([\d.]+):\d+)$/.exec(hop) ?? [];
  return (v6 ?? v4 ?? hop).replace(/%.*$/, '');
}

function isIdle({ connections, webSockets, tcp }: AddressState): boolean {
  return connections === 0 && webSockets === 0 && tcp === 0;
}

/** One text for an IPv4 address, however IPv6 writes it, and one for each /64 of IPv6. */
export function toNetwork(peer: string): string {
  const address = peer.replace(/%.*$/, '');
  if (!address.includes(':') || isLoopback(address)) return address;
  if (address.startsWith(IPV4_MAPPED) && address.includes('.')) return address.slice(IPV4_MAPPED.length);
  // Writes `::ffff:c633:6401` as `::ffff:198.51.100.1`.
  const { address: canonical } = new SocketAddress({ address, family: 'ipv6' });
  if (canonical.startsWith(IPV4_MAPPED)) return canonical.slice(IPV4_MAPPED.length);
  if (isLoopback(canonical) || canonical.startsWith(NAT64)) return canonical;
  const [head = '', tail] = canonical.split('::');
  const groups = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  while (groups.length + after.length < 8) groups.push('0');
  return `${[...groups, ...after].slice(0, 4).join(':')}::/64`;
}

/** Limits by address exempt loopback, because a balancer on this host forwards for everyone. */
export function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.');
}
