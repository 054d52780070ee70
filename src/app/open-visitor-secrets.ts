import { randomBytes } from 'node:crypto';
import { type VisitorSecretStore, VisitorSecrets } from '../access/visitor-secrets.js';
import type { Clock } from '../common/clock.js';
import type { Settings } from '../config/settings.js';
import { dataDirectoryError } from '../store/embedded/disk/data-directory.js';
import { VisitorSecretFile } from '../store/embedded/disk/visitor-secret-file.js';
import type { RedisClient } from '../store/redis/client/redis-client.js';
import { RedisVisitorSecrets } from '../store/redis/redis-visitor-secrets.js';

/**
 * Call it when the store is open, because the lock of DATA_DIR guards the file, too.
 * @returns `null` where clients without a name have no actor
 * @throws Error with one line
 */
export async function openVisitorSecrets(
  { anonymousActors, dataDir }: Settings,
  redis: RedisClient | null,
  clock: Clock,
  warn: (message: string) => void,
): Promise<VisitorSecrets | null> {
  const options = { clock, randomBytes, warn };
  try {
    if (anonymousActors === 'address')
      return await VisitorSecrets.open(openSecretStore(dataDir, redis, clock), options);
    if (redis === null) VisitorSecretFile.remove(dataDir);
    return null;
  } catch (error) {
    if (redis === null) throw dataDirectoryError(dataDir, error);
    throw new Error(`REDIS_URL ${redis.url}: ${(error as Error).message}`, { cause: error });
  }
}

function openSecretStore(dataDir: string, redis: RedisClient | null, clock: Clock): VisitorSecretStore {
  return redis === null ? new VisitorSecretFile(dataDir, () => clock.wallMs()) : new RedisVisitorSecrets(redis);
}
