/** Measured servers, each on a free port of 127.0.0.1 and a given core. */
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { start, temporaryDirectory } from './processes.mjs';

export const ROOT = join(import.meta.dirname, '..', '..');
/** The flags of `npm start`. Peers on Node get them, too, so that servers are compared and not flags. */
const NODE_ARGS = ['--max-semi-space-size=32'];
/** A boot takes a second of CPU, and much longer on a busy machine. */
const READY_LIMIT_MS = 60_000;

/** @returns a free port of 127.0.0.1 */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/**
 * Starts a server and waits until it accepts connections.
 *
 * @param args arguments of the command, or a function from the port to them
 * @param options those of `start` (core, env, endSignal), and `port` (a free one by default)
 * @returns the result of `start` with `port`, `url` and `pids`: its process and all child processes
 */
export async function startServer(command, args, { port, ...options } = {}) {
  port ??= await freePort();
  const server = start(command, typeof args === 'function' ? args(port) : args, options);
  await listening(server, port);
  server.port = port;
  server.url = `http://127.0.0.1:${port}`;
  Object.defineProperty(server, 'pids', { get: () => familyOf(server.pid) });
  return server;
}

/**
 * Starts the built gateway without rate limits and with a new DATA_DIR. `env` overrides its environment.
 *
 * @param nodeArgs arguments before dist/main.js, e.g. `['--expose-gc']`
 */
export async function startGateway(env = {}, core = null, nodeArgs = []) {
  const main = join(ROOT, 'dist', 'main.js');
  if (!existsSync(main)) throw new Error('dist/main.js is missing: run `npm run build` first');
  const port = env.PORT === undefined ? await freePort() : Number(env.PORT);
  const all = {
    HOST: '127.0.0.1',
    PORT: String(port),
    MAX_OPS_PER_CONNECTION: '0',
    MAX_OPS_PER_ADDRESS: '0',
    MAX_CONNECTIONS_PER_ADDRESS: '0',
    MAX_POSTS_PER_CONNECTION: '10000',
    LOG_LEVEL: 'warn',
    NODE_ENV: 'production',
    ...env,
  };
  if (all.REDIS_URL === undefined) all.DATA_DIR ??= temporaryDirectory();
  return startServer(process.execPath, [...NODE_ARGS, ...nodeArgs, main], { core, env: all, port });
}

/** Starts a Node program of bench/peers with its PORT. */
export async function startPeer(name, env = {}, core = null, nodeArgs = []) {
  const port = await freePort();
  const args = [...NODE_ARGS, ...nodeArgs, join(ROOT, 'bench', 'peers', name)];
  return startServer(process.execPath, args, {
    core,
    env: { PORT: String(port), NODE_ENV: 'production', ...env },
    port,
  });
}

/** @param appendonly whether it keeps a log on disk, durable each second (`everysec`); else it keeps nothing */
export async function startRedis(core = null, appendonly = false) {
  const keep = appendonly ? ['--appendonly', 'yes', '--appendfsync', 'everysec'] : ['--appendonly', 'no'];
  const directory = temporaryDirectory();
  const args = (port) => ['--port', port, '--bind', '127.0.0.1', '--dir', directory, '--save', '', ...keep];
  const server = await startServer(process.env.REDIS_SERVER_BIN ?? 'redis-server', args, { core });
  server.url = `redis://127.0.0.1:${server.port}`;
  return server;
}

async function listening(server, port) {
  for (const deadline = Date.now() + READY_LIMIT_MS; Date.now() < deadline; await sleep(20)) {
    server.alive();
    if (await takesConnections(port)) return;
  }
  throw new Error(`${server.command} was not listening on ${port} after ${READY_LIMIT_MS} ms`);
}

async function takesConnections(port) {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function familyOf(pid) {
  const children = `/proc/${pid}/task/${pid}/children`;
  if (!existsSync(children)) return [pid];
  const pids = readFileSync(children, 'utf8').split(' ').filter(Boolean).map(Number);
  return [pid, ...pids.flatMap(familyOf)];
}
