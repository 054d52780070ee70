import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Client } from 'pg';
import { freePort } from './free-port.js';
import { asServerUser, chownToServer, type TestDatabase } from './postgres-server.js';
import { Processes } from './processes.js';
import { until } from './until.js';

const HOST = '127.0.0.1';
const processes = new Processes();

/**
 * Starts a pgbouncer in transaction mode before a database, with two connections to it.
 * @returns its port, for the login of the database
 */
export async function startPgbouncer({ url, name }: TestDatabase): Promise<number> {
  const dir = await processes.newDir();
  const port = await freePort();
  const password = decodeURIComponent(url.password);
  const files = {
    'users.txt': `"${url.username}" "${password}"\n`,
    'pgbouncer.ini': [
      '[databases]',
      `${name} = host=${url.hostname} port=${url.port} dbname=${name}`,
      '[pgbouncer]',
      ...[`listen_addr = ${HOST}`, `listen_port = ${port}`, 'unix_socket_dir ='],
      ...['auth_type = scram-sha-256', `auth_file = ${join(dir, 'users.txt')}`],
      // Each transaction may get another connection than the one before it.
      ...['pool_mode = transaction', 'default_pool_size = 2', 'server_round_robin = 1'],
      '',
    ].join('\n'),
  };
  await chownToServer(dir);
  for (const [file, text] of Object.entries(files)) {
    await writeFile(join(dir, file), text);
    await chownToServer(join(dir, file));
  }
  const program = process.env['PGBOUNCER_BIN'] ?? 'pgbouncer';
  const options = { ...asServerUser(), cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'] };
  const { child, closed } = processes.start(program, [join(dir, 'pgbouncer.ini')], options);
  const log: string[] = [];
  createInterface({ input: child.stderr! }).on('line', (line) => log.push(line));
  let hasEnded = false;
  void closed.finally(() => (hasEnded = true));
  await until(async () => {
    if (hasEnded) throw new Error(`pgbouncer ended:\n${log.join('\n')}`);
    return await answers({ host: HOST, port, user: url.username, password, database: name });
  }, `pgbouncer answers on port ${port}`);
  return port;
}

/** Ends all of this test file. For `afterAll`. */
export async function stopPgbouncer(): Promise<void> {
  await processes.end();
}

async function answers(config: ConstructorParameters<typeof Client>[0]): Promise<boolean> {
  const client = new Client(config);
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('SELECT 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}
