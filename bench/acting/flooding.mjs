/**
 * A process that floods a gateway: `node flooding.mjs PORT ADDRESS CONNECTIONS KIND`. Each connection repeats the same
 * packet as fast as it is read, or slowly for comparison. A connection that the gateway ends is opened again a second
 * later. Prints the number of ended connections when it exits.
 */
import { Buffer } from 'node:buffer';
import { connect } from 'node:net';
import { setInterval, setTimeout } from 'node:timers';

const BURST_BYTES = 64 * 1024;
const AGAIN_MS = 1_000;
/** Pause between two operations of a calm connection: all of them together stay below the limit of an address. */
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

/** The first packet of each kind, and the one that is repeated. */
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

/** A frame with a mask of zeros. */
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
      // Waits for the handshake: before it ends, further packets would end the connection.
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
