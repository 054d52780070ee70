/**
 * Bare `ws` that answers JSON with JSON, by id: the cost without Socket.IO.
 *
 *     PORT=3001 node bench/peers/echo-ws.mjs
 *
 * Its answers are as long as the gateway's.
 */
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';
import { answerTo } from './answer.mjs';

const http = createServer();
new WebSocketServer({ server: http, perMessageDeflate: false }).on('connection', (socket) => {
  socket.on('message', (data) => {
    const { id, event, ...payload } = JSON.parse(data);
    socket.send(JSON.stringify({ id, ...answerTo(event, payload) }));
  });
});
http.listen(Number(process.env.PORT), '127.0.0.1');
