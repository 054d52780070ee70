/** Input that was read and is handled in later turns of the event loop, because a connection's work in one turn is bounded. */
export interface DeferredInput {
  readonly hasDeferred: boolean;
  /** Handles as much as a turn allows; less if the connection is blocked meanwhile. */
  handleSome(): void;
}

/** The limits that the reader of a connection's frames respects. */
export interface ReaderLimits {
  /** Whether nothing may be handled at present. */
  readonly isBlocked: boolean;
  deferredBytes: DeferredInput | null;
  /** Charges for bytes that are passed on without being counted as messages. */
  spendBytes(bytes: number): void;
  /** To be called when input was kept for the next turn. */
  deferRest(): void;
}
