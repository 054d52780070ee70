/** Stock socket.io: a room for each post, and an emit to POST each TICK_MS (0: never). BYTES: length of the frame's text. */
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
