/** Raw `ws`: one string to every client each TICK_MS (0: never). BYTES: length of the frame's text. */
import { setInterval } from 'node:timers';
import { WebSocketServer } from 'ws';
import { textOfBytes } from '../watching/payload.mjs';

const { PORT, TICK_MS, BYTES } = process.env;
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(PORT), backlog: 4096 });
let tick = 0;

if (Number(TICK_MS) > 0) {
  setInterval(() => {
    const text = textOfBytes(Number(BYTES), ++tick);
    for (const client of server.clients) client.send(text);
  }, Number(TICK_MS));
}
