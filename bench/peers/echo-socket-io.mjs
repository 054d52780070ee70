/**
 * Stock socket.io that only acknowledges: the minimum cost of an acknowledged event.
 *
 *     PORT=3001 node bench/peers/echo-socket-io.mjs
 *
 * Its acknowledgements are as long as the gateway's.
 */
import { createServer } from 'node:http';
import { Server } from 'socket.io';
import { answerTo } from './answer.mjs';

const http = createServer();
const io = new Server(http, { serveClient: false });
io.on('connection', (socket) => {
  for (const event of ['like', 'unlike', 'view']) {
    socket.on(event, (payload, acknowledge) => acknowledge(answerTo(event, payload)));
  }
});
http.listen(Number(process.env.PORT), '127.0.0.1');
