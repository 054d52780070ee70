/**
 * Servers that deliver one post's updates to many WebSockets. Each is `{ name, start(setting) }`. `setting` has `tickMs`,
 * `sockets`, `core`, `env` for its environment and `nodeArgs` for Node. `start` resolves with `server`, the result of
 * `startServer`; `watch`, arguments of the load; `tick()`, which publishes a change to servers that do not tick by
 * themselves; and `close()`, which ends the publisher.
 */
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { compiled } from '../harness/native.mjs';
import { temporaryDirectory } from '../harness/processes.mjs';
import { freePort, ROOT, startGateway, startPeer, startServer } from '../harness/servers.mjs';
import { FRAME_BYTES, POST, textOfBytes } from './payload.mjs';

/** The packets of a stock Socket.IO client that connects and watches. `posts` is JSON without brackets. */
export function socketIoScript(posts = `"${POST}"`) {
  const subscribe = `420["subscribe",{"posts":[${posts}]}]`;
  const path = '/socket.io/?EIO=4&transport=websocket';
  return ['--path', path, '--on', '0{', '40', '--on', '40{', subscribe, '--ready', '430', '--on', '2', '3'];
}

export const tallycast = {
  name: 'tallycast',
  async start({ tickMs, core, env = {}, nodeArgs = [] }) {
    const server = await startGateway({ TICK_MS: String(tickMs), ALLOWED_ORIGINS: '*', ...env }, core, nodeArgs);
    const actor = await connectActor(server.url);
    return { server, watch: socketIoScript(), tick: () => actor.view(POST), close: () => actor.close() };
  },
};

const writeLoop = {
  name: 'write() loop in C',
  async start({ tickMs, sockets, core }) {
    const args = ['--sockets', sockets, '--tick-ms', tickMs, '--bytes', FRAME_BYTES];
    const server = await startServer(compiled('write-loop'), (port) => ['--port', port, ...args], { core });
    return { server, watch: [] };
  },
};

export const rawWs = {
  name: 'ws',
  async start({ tickMs, core, nodeArgs = [] }) {
    const env = { TICK_MS: String(tickMs), BYTES: String(FRAME_BYTES) };
    return { server: await startPeer('ws.mjs', env, core, nodeArgs), watch: [] };
  },
};

export const stockSocketIo = {
  name: 'socket.io',
  async start({ tickMs, core, nodeArgs = [] }) {
    const env = { TICK_MS: String(tickMs), BYTES: String(FRAME_BYTES) };
    return { server: await startPeer('socket-io.mjs', env, core, nodeArgs), watch: socketIoScript() };
  },
};

const nchan = {
  name: 'nchan',
  async start({ core }) {
    const directory = temporaryDirectory();
    const port = await freePort();
    const file = configuration('nchan.conf', directory, { PORT: port, DIRECTORY: directory });
    // SIGTERM, so that the master ends its workers.
    const options = { core, port, endSignal: 'SIGTERM' };
    const server = await startServer('nginx', ['-p', directory, '-c', file], options);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    let changes = 0;
    const tick = () => {
      const post = request(`${server.url}/publish`, { method: 'POST', agent }, (answer) => answer.resume());
      post.on('error', () => undefined).end(textOfBytes(FRAME_BYTES, ++changes));
    };
    return { server, watch: ['--path', '/watch'], tick, close: () => agent.destroy() };
  },
};

/** NATS puts a line before each message. The published text is shorter by that line, so that frames are equally long. */
const nats = {
  name: 'NATS',
  async start({ core }) {
    const port = await freePort();
    const socketsPort = await freePort();
    const file = configuration('nats.conf', temporaryDirectory(), { SOCKETS_PORT: socketsPort, PORT: port });
    const server = await startServer('nats-server', ['-c', file], { core, port });
    const publisher = connect({ port, host: '127.0.0.1', noDelay: true });
    await once(publisher, 'connect');
    publisher.on('error', () => undefined);
    publisher.on('data', (data) => String(data).includes('PING') && publisher.write('PONG\r\n'));
    publisher.write('CONNECT {"verbose":false,"pedantic":false}\r\n');
    const around = `MSG post 1 ${FRAME_BYTES}\r\n\r\n`.length;
    let changes = 0;
    const tick = () => {
      const text = textOfBytes(FRAME_BYTES, ++changes).slice(0, FRAME_BYTES - around);
      publisher.write(`PUB post ${text.length}\r\n${text}\r\n`);
    };
    server.port = socketsPort;
    const hello = 'CONNECT {"verbose":false,"pedantic":false,"protocol":1}\\r\\nSUB post 1\\r\\nPING\\r\\n';
    const watch = ['--binary', '--on', 'INFO', hello, '--ready', 'PONG', '--on', 'PING', 'PONG\\r\\n'];
    return { server, watch, tick, close: () => publisher.destroy() };
  },
};

export const everyone = [tallycast, writeLoop, rawWs, stockSocketIo, nchan, nats];

/** Opens a connection that acts like a stock client. */
export async function connectActor(url) {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`);
  socket.on('error', () => undefined);
  const connected = new Promise((resolve, reject) => {
    socket.once('close', () => reject(new Error('the gateway closed the connection that acts')));
    socket.on('message', (data) => {
      const text = String(data);
      if (text === '2') socket.send('3');
      else if (text.startsWith('0{')) socket.send('40{"actor":"bench"}');
      else if (text.startsWith('40{')) resolve();
    });
  });
  await connected;
  let acknowledgement = 0;
  const view = (post) => socket.send(`42${acknowledgement++}["view",{"post":"${post}"}]`);
  return { view, close: () => socket.terminate() };
}

function configuration(template, directory, values) {
  let text = readFileSync(join(ROOT, 'bench', 'peers', template), 'utf8');
  for (const [name, value] of Object.entries(values)) text = text.replaceAll(new RegExp(`\\b${name}\\b`, 'g'), value);
  const file = join(directory, template);
  writeFileSync(file, text);
  return file;
}
