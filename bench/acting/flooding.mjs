/**
 * A process that floods a gateway: `node flooding.mjs PORT ADDRESS CONNECTIONS KIND`. Each connection sends the same again
 * and again as fast as it is read, or calmly for comparison; one that is ended is opened again a second later. Prints how often they were, at its end.
 */
import { Buffer } from 'node:buffer';
import { connect } from 'node:net';
import { setInterval, setTimeout } from 'node:timers';

const BURST_BYTES = 64 * 1024;
const AGAIN_MS = 1_000;
/** Of those who are calm, between two operations: together less than the limit of an address. */
const CALM_MS = 500;

const [port, address, connections, kind] = process.argv.slice(2);
const forwarded = `X-Forwarded-For: ${address}`;
const upgrade = [
  'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1',
  'Host: gateway',
  forwarded,
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  '',
  '',
].join('\r\n');
const packets = [...Array(500)].map(() => '42["like",{"post":"hostile"}]').join('\x1e');
const post = [
  'POST /socket.io/?EIO=4&transport=polling&sid=gone HTTP/1.1',
  'Host: gateway',
  forwarded,
  `Content-Length: ${packets.length}`,
  '',
  packets,
].join('\r\n');

/** What each kind sends first, and then again and again. */
const KINDS = {
  'calm likes': [frame('40'), frame('42["like",{"post":"calm"}]')],
  'likes over the rate': [frame('40'), frame('42["like",{"post":"hostile"}]')],
  'unknown events': [frame('40'), frame('421["nonsense",{}]')],
  'bad payloads': [frame('40'), frame('421["like",{"post":7}]')],
  'pongs of Engine.IO': [frame('40'), frame('3')],
  'pings of WebSocket': [frame('40'), frame('', 0x89)],
  'attempts to connect': [frame('40'), frame('40')],
  'polling POSTs': [null, Buffer.from(post)],
};

/** With a mask that changes nothing. */
function frame(text, opcode = 0x81) {
  return Buffer.concat([Buffer.from([opcode, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
}

let ended = 0;

function flood() {
  const [first, again] = KINDS[kind];
  const burst = Buffer.concat(Array(Math.ceil(BURST_BYTES / again.length)).fill(again));
  const socket = connect(Number(port), '127.0.0.1');
  const pour = () => {
    if (kind.startsWith('calm')) setInterval(() => socket.write(again), CALM_MS);
    else while (socket.writable && socket.write(burst));
  };
  socket.on('error', () => undefined);
  socket.on('drain', pour);
  socket.resume();
  if (first === null) pour();
  else {
    socket.write(upgrade);
    socket.once('data', () => {
      socket.write(first);
      // The handshake over, or else what follows ends the connection at once.
      setTimeout(pour, AGAIN_MS);
    });
  }
  socket.once('close', () => {
    ended += 1;
    setTimeout(flood, AGAIN_MS);
  });
}

for (let i = 0; i < Number(connections); i++) flood();
process.stdin.resume().once('end', () => {
  console.log(ended);
  process.exit();
});
