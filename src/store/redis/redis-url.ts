/** Where `REDIS_URL` points. */

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Whom to log in as; `null` where the server asks for nothing. */
export interface Login {
  readonly username: string | null;
  readonly password: string;
}

export interface RedisTarget {
  readonly kind: 'single' | 'sentinel' | 'cluster';
  /** One server; the sentinels; nodes of the cluster to ask first. */
  readonly addresses: readonly [Address, ...Address[]];
  /** The name of the primary, as the sentinels know it; empty for other kinds. */
  readonly master: string;
  readonly login: Login | null;
  readonly sentinelLogin: Login | null;
  readonly tls: boolean;
  /** Number of the database; 0 in a cluster. */
  readonly database: number;
}
