import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { connect } from 'node:net';
import { RawSocket } from '../support/raw-socket.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { until } from '../support/until.js';

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway();
});

afterAll(stopAll);

/** Headers of the first request of Java's HttpClient and `curl --http2`. */
const H2C = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA'];
const WEB_SOCKET = ['Connection: Upgrade', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='];
const UP = '{"action":"increment"}';

function message(line: string, headers: readonly string[], body = ''): string {
  return [`${line} HTTP/1.1`, 'Host: 127.0.0.1', ...headers, '', body].join('\r\n');
}

/** Sends each text on one connection after the response to the previous one; resolves with all responses. */
async function say(...texts: readonly (string | readonly string[])[]): Promise<string> {
  const socket = connect(gateway.port, '127.0.0.1').setEncoding('utf8');
  let answers = '';
  let closed = false;
  socket.on('data', (data: string) => (answers += data));
  socket.on('error', () => undefined);
  socket.on('close', () => (closed = true));
  for (const [i, text] of texts.entries()) {
    for (const fragment of [text].flat()) {
      socket.write(fragment);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => closed || statuses(answers).length > i, `answer ${i + 1}`, 20_000);
  }
  socket.destroy();
  return answers;
}

function statuses(answers: string): string[] {
  return [...answers.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => status!);
}

describe('an unknown Upgrade', () => {
  it.each([
    ['h2c', H2C],
    ['TLS', ['Connection: upgrade', 'Upgrade: TLS/1.0']],
    ['several protocols', ['Connection: keep-alive, Upgrade', 'Upgrade: foo, bar/2']],
    ['a protocol that begins like a known one', ['Connection: Upgrade', 'Upgrade: websocket2']],
  ])('an unknown Upgrade of a GET is ignored, and the connection continues: %s', async (_, headers) => {
    const answers = await say(
      message('GET /v1/upgrade/live', headers),
      message('GET /healthz', []),
      message('GET /healthz', headers),
    );
    expect(statuses(answers)).toEqual(['200', '200', '200']);
    expect(answers).toContain('{"count":0,"updated_at":null}');
    expect(answers).not.toMatch(/^Connection: close/im);
  });

  it('an unknown Upgrade of a PUT with its body is ignored, in one piece or several', async () => {
    const length = `Content-Length: ${UP.length}`;
    const chunked = `${UP.length.toString(16)}\r\n${UP}\r\n0\r\n\r\n`;
    const head = message('PUT /v1/upgrade/views', [...H2C, length]);
    const answers = await say(
      head + UP,
      [head, UP.slice(0, 9), UP.slice(9)],
      message('PUT /v1/upgrade/views', [...H2C, 'Transfer-Encoding: chunked'], chunked),
      message('GET /v1/upgrade/views', []),
    );
    expect(statuses(answers)).toEqual(['200', '200', '200', '200']);
    expect(answers.match(/"count":\d+/g)).toEqual([1, 2, 3, 3].map((count) => `"count":${count}`));
  });

  it('an unknown Upgrade behind pipelined requests is ignored', async () => {
    // The second text is written after the second response.
    const answers = await say(
      message('GET /v1/counts?posts=a,b,c', []) + message('GET /v1/second/likes', H2C),
      '',
      message('GET /healthz', H2C),
    );
    expect(statuses(answers)).toEqual(['200', '200', '200']);
    expect(answers).toMatch(/"counts":[^]*"count":0[^]*"status":"ok"/);
  });

  it('an unknown Upgrade on the path of Socket.IO is ignored', async () => {
    const answers = await say(message('GET /socket.io/?EIO=4&transport=polling', H2C));
    expect(answers).toMatch(/^HTTP\/1\.1 200 [^]*\r\n\r\n0\{"sid"/);
  });

  it('an Upgrade with an unknown and a known protocol is done with the known one', async () => {
    const webSocket = message('GET /socket.io/?EIO=4&transport=websocket', [...WEB_SOCKET, 'Upgrade: foo, WebSocket']);
    expect(await say(webSocket)).toMatch(/^HTTP\/1\.1 101 /);
    const raw = await RawSocket.connect(gateway.url);
    expect(await raw.emitWithAck('2#["view",{"post":"known"}]')).toMatchObject({ ok: true });
    raw.destroy();
  });
});

it.each(['/', '/v1/stream?posts=a', '/socket.io', '/ws'])(
  'a WebSocket elsewhere than at /socket.io/ is rejected with the path: %s',
  async (path) => {
    const answer = await say(message(`GET ${path}`, [...WEB_SOCKET, 'Upgrade: websocket']));
    expect(answer).toMatch(/^HTTP\/1\.1 404 Not Found\r\n/);
    expect(answer).toMatch(/\{"code":"BAD_REQUEST","message":"[^"]*\/socket\.io\/[^"]*","retryable":false\}$/);
    expect(answer.toLowerCase()).toContain('\r\nconnection: close\r\n');
  },
);

it('a CONNECT tunnel is rejected', async () => {
  const answer = await say('CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n');
  expect(answer).toMatch(/^HTTP\/1\.1 400 [^]*"BAD_REQUEST"/);
});
