interface IncarnationSource {
  /** Returns 32 random bits. */
  readonly nonce: () => number;
  /** Returns the wall time, ms since 1970; guarded against jumps. */
  readonly wallMs: () => number;
}

/**
 * Encodes the argument of scripts that may start an incarnation: 32 random bits, and the wall time (ms since 1970). The
 * gateway's time is guarded against jumps; the server's is not.
 */
export function encodeNewIncarnation({ nonce, wallMs }: IncarnationSource): string {
  return `${nonce()} ${Math.floor(wallMs())}`;
}
