import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { EventSource } from 'eventsource';
import { closeClients, connect } from '../support/clients.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetric } from '../support/metrics.js';
import { requestRaw, type RawResponse } from '../support/raw-request.js';
import { until } from '../support/until.js';

const NAME = 'live.example.org';
const OWN = `https://${NAME}`;
const ALLOWED = 'https://allowed.example';
/** Origins of an app and of a page in a file. */
const APPS = ['capacitor://localhost', 'null'];
const REBOUND = 'rebound.test:3000';
const POLLING = '/socket.io/?EIO=4&transport=polling';
const CROSS_SITE = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'no-cors' };
const UP = { method: 'PUT', body: '{"action":"increment"}' };
const FORBIDDEN = { status: 403, body: expect.stringContaining('"FORBIDDEN"') as unknown };

/** Gateways without a host name (laptop), with one (behind a balancer), and open to all origins. */
let nameless: GatewayProcess;
let named: GatewayProcess;
let open: GatewayProcess;

beforeAll(async () => {
  [nameless, named, open] = await Promise.all([
    startGateway({ ALLOWED_ORIGINS: [ALLOWED, ...APPS, 'https://*.sites.example'].join() }),
    startGateway({ PUBLIC_URL: OWN }),
    startGateway({ ALLOWED_ORIGINS: '*' }),
  ]);
});

afterEach(closeClients);

afterAll(stopAll);

async function readCount(gateway: GatewayProcess, path: string): Promise<number> {
  const { count } = (await (await fetch(`${gateway.url}/v1/${path}`)).json()) as { count: number };
  return count;
}

function sidIn({ body }: RawResponse): string {
  return (JSON.parse(body.slice(1)) as { sid: string }).sid;
}

describe('JSONP', () => {
  it.each(['&j=0', '&j=', '&%6a=1'])(
    'JSONP is rejected before the handshake for every client: %s',
    async (parameter) => {
      for (const { url } of [nameless, open]) {
        const answer = await requestRaw(`${url}${POLLING}${parameter}`, { Origin: ALLOWED });
        expect(answer).toMatchObject({ status: 403, body: expect.stringContaining('JSONP is not served') });
      }
    },
  );
});

describe('a page under a rebound host name', () => {
  const page = { Host: REBOUND, Origin: `http://${REBOUND}` };

  it('a page under a rebound host name may neither read nor act over HTTP', async () => {
    for (const gateway of [nameless, named]) {
      expect(await requestRaw(`${gateway.url}/v1/rebound/views`, page)).toMatchObject(FORBIDDEN);
      expect(await requestRaw(`${gateway.url}/v1/rebound/views`, page, UP)).toMatchObject(FORBIDDEN);
      const read = { Host: REBOUND, 'Sec-Fetch-Site': 'same-origin', 'Sec-Fetch-Mode': 'cors' };
      expect(await requestRaw(`${gateway.url}/v1/rebound/views`, read)).toMatchObject(FORBIDDEN);
      expect(await readCount(gateway, 'rebound/views')).toBe(0);
    }
  });

  it('a page under a rebound host name may not act over long-polling, whose first request has no origin', async () => {
    const polling = `${nameless.url}${POLLING}`;
    const sid = sidIn(await requestRaw(polling, { Host: REBOUND }));
    const posted = await requestRaw(`${polling}&sid=${sid}`, page, { method: 'POST', body: '40{}' });
    expect(posted).toMatchObject(FORBIDDEN);
    const upgrade = {
      ...page,
      ...{ Connection: 'Upgrade', Upgrade: 'websocket' },
      ...{ 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==' },
    };
    const webSocket = `${nameless.url}/socket.io/?EIO=4&transport=websocket&sid=${sid}`;
    expect(await requestRaw(webSocket, upgrade)).toMatchObject(FORBIDDEN);
    // The same request without a page is accepted.
    expect(await requestRaw(`${polling}&sid=${sid}`, {}, { method: 'POST', body: '40{}' })).toMatchObject({
      status: 200,
    });
  });

  it('a rebound host name is logged once, with the setting that allows the name', () => {
    const lines = nameless.log.filter((line) => line.includes(REBOUND) && line.includes('"level":40'));
    expect(lines).toHaveLength(2);
    expect(lines[0]).toContain(`if it is yours set PUBLIC_URL=http://${REBOUND}"`);
    expect(named.log.join('\n')).toContain(`set PUBLIC_URL=${OWN},http://${REBOUND}"`);
  });
});

describe('a request of another site without CORS', () => {
  it.each(['/v1/picture/views', '/v1/counts?posts=picture', '/v1/stream?posts=picture', POLLING])(
    'a request of another site by a picture or a script is rejected: %s',
    async (path) => {
      for (const site of ['cross-site', 'same-site']) {
        const answer = await requestRaw(nameless.url + path, { ...CROSS_SITE, 'Sec-Fetch-Site': site });
        expect(answer).toMatchObject({ status: 403, body: expect.stringContaining('without CORS') });
      }
      expect((await requestRaw(open.url + path, CROSS_SITE)).status).toBe(200);
    },
  );

  it('a request of another site is accepted only if a user follows a link to a read', async () => {
    const visit = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document' };
    expect((await requestRaw(`${nameless.url}/v1/picture/views`, visit)).status).toBe(200);
    expect((await requestRaw(`${nameless.url}/v1/picture/views`, visit, { method: 'HEAD' })).status).toBe(200);
    for (const path of ['/v1/stream?posts=picture', POLLING]) {
      expect((await requestRaw(nameless.url + path, visit)).status).toBeGreaterThanOrEqual(400);
    }
    const framed = { ...visit, 'Sec-Fetch-Dest': 'iframe' };
    expect(await requestRaw(`${nameless.url}/v1/picture/views`, framed)).toMatchObject(FORBIDDEN);
  });
});

describe('an event stream', () => {
  it.each([
    ['a picture', { Accept: 'image/avif,image/webp,image/apng,image/*,*/*;q=0.8' }],
    ['a person', { Accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' }],
    ['JSON', { Accept: 'application/json, text/plain, */*' }],
    ['a script', { Accept: '*/*', 'Sec-Fetch-Dest': 'script' }],
    ['a video', { 'Sec-Fetch-Dest': 'video' }],
  ])('an event stream is not opened for %s, which would be a viewer', async (_, headers) => {
    for (const { url } of [nameless, open]) {
      const answer = await requestRaw(`${url}/v1/stream?posts=seen`, headers);
      expect(answer).toMatchObject({ status: 400, body: expect.stringMatching(/"BAD_REQUEST".*text\/event-stream/) });
    }
    expect(await readCount(nameless, 'seen/live')).toBe(0);
  });

  it.each([
    ['no preference', {}],
    ['anything', { Accept: '*/*' }],
    ['events', { Accept: 'text/event-stream', 'Sec-Fetch-Dest': 'empty', 'Sec-Fetch-Mode': 'cors' }],
    ['events among others', { Accept: 'Text/Event-Stream;q=1, application/json' }],
    ['text', { Accept: 'text/*' }],
  ])('an event stream is opened for %s', async (_, headers) => {
    for (const method of ['GET', 'HEAD']) {
      const answer = await requestRaw(`${nameless.url}/v1/stream?posts=seen`, headers, { method });
      expect(answer).toMatchObject({ status: 200, headers: { 'content-type': 'text/event-stream' } });
    }
  });
});

describe('allowed pages', () => {
  const own = { Host: NAME, Origin: OWN };
  const ownRead = { Host: NAME, 'Sec-Fetch-Site': 'same-origin', 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Dest': 'empty' };

  it('pages of PUBLIC_URL are allowed, even if a balancer changes the host', async () => {
    expect(await requestRaw(`${named.url}/v1/own/views`, own, UP)).toMatchObject({ status: 200 });
    expect(await requestRaw(`${named.url}/v1/own/views`, { Origin: OWN }, UP)).toMatchObject({ status: 200 });
    expect(await requestRaw(`${named.url}/v1/own/views`, ownRead)).toMatchObject({ status: 200 });
    expect(await requestRaw(named.url + POLLING, ownRead)).toMatchObject({ status: 200 });
    const socket = connect(named.url, {}, { transports: ['websocket'], extraHeaders: { Origin: OWN } });
    expect(await socket.emitWithAck('view', { post: 'own' })).toMatchObject({ ok: true });
  });

  it('pages of an allowed origin may use HTTP and both transports', async () => {
    const page = {
      Origin: ALLOWED,
      'Sec-Fetch-Site': 'cross-site',
      'Sec-Fetch-Mode': 'cors',
      'Sec-Fetch-Dest': 'empty',
    };
    expect(await requestRaw(`${nameless.url}/v1/allowed/views`, page, UP)).toMatchObject({ status: 200 });
    expect(await requestRaw(`${nameless.url}/v1/stream?posts=allowed`, page)).toMatchObject({ status: 200 });
    for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
      const socket = connect(nameless.url, {}, { transports, extraHeaders: page });
      expect(await socket.emitWithAck('view', { post: 'allowed' })).toMatchObject({ ok: true });
    }
  });

  it('apps, files and subdomains of an allowed entry get their origin back, and may use HTTP and sockets', async () => {
    for (const origin of [...APPS, 'https://a.b.sites.example']) {
      const page = { Origin: origin };
      for (const [path, options] of [
        ['/v1/apps/views', UP],
        ['/v1/apps/views', { method: 'OPTIONS' }],
        [POLLING, {}],
      ] as const) {
        const { status, headers } = await requestRaw(nameless.url + path, page, options);
        expect([status < 300, headers['access-control-allow-origin']]).toEqual([true, origin]);
      }
      const socket = connect(nameless.url, {}, { transports: ['websocket'], extraHeaders: page });
      expect(await socket.emitWithAck('view', { post: 'apps' })).toMatchObject({ ok: true });
    }
  });

  it('without PUBLIC_URL, pages of the address and of localhost are allowed', async () => {
    for (const origin of [nameless.url, `http://localhost:${nameless.port}`]) {
      const page = { Host: new URL(origin).host, Origin: origin };
      expect(await requestRaw(`${nameless.url}/v1/laptop/views`, page, UP)).toMatchObject({ status: 200 });
    }
  });

  it('pages of an origin that is not allowed get an error on the socket', async () => {
    for (const transports of [['polling'], ['websocket']]) {
      const extraHeaders = { Origin: 'https://elsewhere.example' };
      const socket = connect(nameless.url, {}, { transports, extraHeaders });
      const error = await new Promise<{ data?: unknown }>((resolve) => socket.once('connect_error', resolve));
      expect(error.data).toMatchObject({ code: 'FORBIDDEN', retryable: false });
    }
    const add = `add it: ALLOWED_ORIGINS=${ALLOWED},${APPS.join()},https://*.sites.example,https://elsewhere.example"`;
    expect(nameless.log.filter((line) => line.includes(add))).toHaveLength(1);
    expect(await readMetric(nameless.url, 'tallycast_rejected_origins_total')).toBeGreaterThanOrEqual(2);
  });
});

describe('clients without a page', () => {
  it('clients without a page need no header under any host name', async () => {
    for (const gateway of [nameless, named]) {
      const headers = { Host: 'gateway-1.internal:3000' };
      expect(await requestRaw(`${gateway.url}/v1/server/views`, headers, UP)).toMatchObject({ status: 200 });
      expect(await requestRaw(gateway.url + POLLING, headers)).toMatchObject({ status: 200 });
      expect(await connect(gateway.url).emitWithAck('view', { post: 'server' })).toMatchObject({ ok: true });
      let snapshots = 0;
      const stream = new EventSource(`${gateway.url}/v1/stream?posts=server`);
      stream.addEventListener('counts', () => (snapshots += 1));
      await until(() => snapshots > 0, 'a snapshot');
      stream.close();
    }
  });
});
