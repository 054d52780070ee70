import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { once } from 'node:events';
import { connect as tcp } from 'node:net';
import { LIMIT_MS } from '../property/runs.js';
import { closeClients } from '../support/clients.js';
import { stopAll } from '../support/gateway-process.js';
import { Books, expectError } from './fuzz/books.js';
import { fuzzInBatches, SEED } from './fuzz/fuzzing.js';
import { GatewayUnderFuzz } from './fuzz/gateway-under-fuzz.js';
import { requests, streamRequests } from './fuzz/requests.js';

const CLIENT_ERROR = 400;
const SERVER_ERROR = 500;
/** Time that the client waits, because bytes taken for the body of an earlier request get no response. */
const PATIENCE_MS = 150;

/** The last request of each connection, which is counted after any other bytes. */
const LAST = { post: 'last', metric: 'views', by: 1 } as const;
const LAST_REQUEST = Buffer.from(
  'PUT /v1/last/views HTTP/1.1\r\nHost: fuzz\r\nConnection: close\r\nContent-Length: 22\r\n\r\n{"action":"increment"}',
);

interface Response {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

let gateway: GatewayUnderFuzz;
const books = new Books();

beforeAll(async () => {
  gateway = await GatewayUnderFuzz.start();
});

afterAll(async () => {
  await closeClients();
  await stopAll();
});

/** Sends the bytes, and resolves with all responses until the gateway closes or the client's wait is over. */
async function answersTo(bytes: Buffer): Promise<Response[]> {
  const socket = tcp(gateway.process.port, '127.0.0.1');
  const answered: Buffer[] = [];
  socket.on('error', () => undefined).on('data', (data: Buffer) => answered.push(data));
  socket.write(bytes);
  const timer = setTimeout(() => socket.end(), PATIENCE_MS);
  await once(socket, 'close');
  clearTimeout(timer);
  return responsesIn(Buffer.concat(answered).toString('latin1'));
}

/** Splits responses, with bodies if they are not chunked; a response to HEAD has a length and no body. */
function responsesIn(text: string): Response[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(({ index, 1: status }) => {
    const end = text.indexOf('\r\n\r\n', index) + 4;
    const head = text.slice(index, end);
    const length = Number(/^Content-Length: (\d+)$/im.exec(head)?.[1] ?? 0);
    const body = text.slice(end, end + length);
    return { status: Number(status), head, body: body.startsWith('HTTP/1.1 ') ? '' : body };
  });
}

/** Checks that there is no internal error, and that each error has the protocol's error object. */
function expectAnswers(responses: readonly Response[]): void {
  for (const { status, head, body } of responses) {
    expect({ head, isServed: status < SERVER_ERROR }).toEqual({ head, isServed: true });
    const isReadable = body !== '' && !/^Content-Encoding: /im.test(head);
    if (status >= CLIENT_ERROR && isReadable) expectError(JSON.parse(body));
  }
}

async function giveRequests(list: readonly Buffer[]): Promise<void> {
  const responses = await answersTo(Buffer.concat([...list, LAST_REQUEST]));
  expectAnswers(responses);
  const isAnswered = responses.length === list.length + 1;
  if (isAnswered) books.acknowledged(LAST, responses.at(-1)!.status === 200);
  else books.unknown(LAST);
}

describe(`fuzzed requests (TEST_SEED=${SEED})`, () => {
  it(
    'fuzzed requests get a response or end their connection, and each response belongs to its request',
    async () => {
      await fuzzInBatches(1_000, requests, [], async (inputs) => {
        await Promise.all(inputs.map(giveRequests));
        await gateway.expectHonestService();
      });
      await books.expectCounts(gateway.url);
    },
    LIMIT_MS,
  );

  it(
    'fuzzed requests for an event stream get a response and leave no viewer',
    async () => {
      await fuzzInBatches(300, streamRequests, [], async (inputs) => {
        await Promise.all(inputs.map(async (input) => expectAnswers(await answersTo(input))));
        await gateway.expectHonestService();
      });
    },
    LIMIT_MS,
  );

  it(
    'fuzzed requests leave no memory and no log lines behind, other than of a made-up proxy and of made-up origins',
    () => gateway.expectNothingLeft(/TRUST_PROXY does not list it|^rejected a page /),
    LIMIT_MS,
  );
});
