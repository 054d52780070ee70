/** The most bytes that a message may have, on every transport: see docs/protocol.md. */
export const MESSAGE_BYTES_MAX = 16 * 1024;

export const ACTOR_MAX = 128;
