import type { RedisClient } from './client/redis-client.js';
import { buildVisitorSecretKey } from './codec/redis-keys.js';
import { Script } from './scripts/script.js';

/** Secrets of days in Redis, which forgets each by itself. */
export class RedisVisitorSecrets {
  readonly #claim = new Script('claim-visitor-secret-1');

  constructor(private readonly client: RedisClient) {}

  /** @returns the secret that is kept for the day: this one, or one that another gateway has claimed */
  async claim(day: string, secret: Buffer, forgetAtMs: number): Promise<Buffer> {
    const args = [secret.toString('base64'), forgetAtMs];
    return Buffer.from(String(await this.client.write(this.#claim, [buildVisitorSecretKey(day)], args)), 'base64');
  }
}
