/**
 * A like counter as in tutorials: for each event an INCR, an emit to the post's room, and the acknowledgement. ioredis and
 * socket.io have their defaults.
 *
 *     PORT=3001 REDIS_URL=redis://127.0.0.1:6379 [ADAPTER=redis] node bench/peers/tutorial.mjs
 *
 * With ADAPTER=redis several of them share their rooms through @socket.io/redis-adapter, and each receives every emit.
 * `subscribe` joins rooms.
 */
import { createServer } from 'node:http';
import { createAdapter } from '@socket.io/redis-adapter';
import { Redis } from 'ioredis';
import { Server } from 'socket.io';

const redis = new Redis(process.env.REDIS_URL);
const http = createServer();
const io = new Server(http, {
  serveClient: false,
  ...(process.env.ADAPTER === 'redis' && { adapter: createAdapter(redis.duplicate(), redis.duplicate()) }),
});

io.on('connection', (socket) => {
  socket.on('subscribe', async ({ posts }, acknowledge) => {
    await socket.join(posts);
    acknowledge({ ok: true });
  });
  socket.on('like', async ({ post }, acknowledge) => {
    const likes = await redis.incr(`likes:${post}`);
    io.to(post).emit('likes', { post, likes });
    acknowledge({ ok: true, likes });
  });
  socket.on('unlike', async ({ post }, acknowledge) => {
    const likes = await redis.decr(`likes:${post}`);
    io.to(post).emit('likes', { post, likes });
    acknowledge({ ok: true, likes });
  });
  socket.on('view', async ({ post }, acknowledge) => {
    const views = await redis.incr(`views:${post}`);
    io.to(post).emit('views', { post, views });
    acknowledge({ ok: true, views });
  });
});
http.listen(Number(process.env.PORT), '127.0.0.1');
