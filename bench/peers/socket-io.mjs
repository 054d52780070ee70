/** Stock socket.io: a room for each post; each TICK_MS (0: never) an emit to the first one. BYTES: of the frame's text. */
import { createServer } from 'node:http';
import { setInterval } from 'node:timers';
import { Server } from 'socket.io';
import { POST, updateOfBytes } from '../watching/payload.mjs';

const { PORT, TICK_MS, BYTES } = process.env;
const http = createServer().listen({ host: '127.0.0.1', port: Number(PORT), backlog: 4096 });
const io = new Server(http);

io.on('connection', (socket) => {
  socket.on('subscribe', async ({ posts }, acknowledge) => {
    await socket.join(posts);
    acknowledge({ ok: true });
  });
});

let tick = 0;
if (Number(TICK_MS) > 0) {
  setInterval(() => io.to(POST).emit('counts', [updateOfBytes(Number(BYTES), ++tick)]), Number(TICK_MS));
}
