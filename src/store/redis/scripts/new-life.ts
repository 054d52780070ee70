interface Beginning {
  /** 32 random bits for an epoch that begins. */
  readonly nonce: () => number;
  /** Wall time, ms since 1970; guarded against jumps. */
  readonly wallMs: () => number;
}

/**
 * The argument of scripts in which a life may begin: 32 random bits, and the wall time (ms since 1970). Not the server's
 * own time: the gateway's is guarded against jumps.
 */
export function encodeNewIncarnation({ nonce, wallMs }: Beginning): string {
  return `${nonce()} ${Math.floor(wallMs())}`;
}
