import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** A secret that requests send as `Authorization: Bearer`. */
export class BearerSecret {
  readonly #digest: Buffer;

  constructor(secret: string) {
    this.#digest = sha256(secret);
  }

  isIn({ headers }: IncomingMessage): boolean {
    const token = /^Bearer +(.*)$/i.exec(headers.authorization ?? '')?.[1] ?? '';
    // Digests have equal lengths, and their comparison takes the same time for every token.
    return timingSafeEqual(sha256(token), this.#digest);
  }
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
