import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { runCommand } from '../support/command.js';
import { type GatewayProcess, startGateway, stopAll } from '../support/gateway-process.js';
import { requestRaw } from '../support/raw-request.js';

const ADMIN_TOKEN = 'a-token-of-an-operator';
const PAGE = 'https://page.example';

afterAll(stopAll);

function bearer(token: string): Record<string, string> {
  return { Authorization: `Bearer ${token}` };
}

async function post(url: string, path: string, headers: Record<string, string> = {}) {
  const response = await fetch(url + path, { method: 'POST', headers });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

describe('requests of operators', () => {
  let gateway: GatewayProcess;

  beforeAll(async () => {
    gateway = await startGateway({ ADMIN_TOKEN, ALLOWED_ORIGINS: PAGE });
  });

  it('a request without the token is UNAUTHORIZED', async () => {
    for (const headers of [{}, bearer(''), bearer('another-token-of-16'), bearer(`${ADMIN_TOKEN}!`)]) {
      expect(await post(gateway.url, '/admin/sinks/off', headers)).toMatchObject({
        status: 401,
        body: { code: 'UNAUTHORIZED', message: 'send the ADMIN_TOKEN of this gateway as Authorization: Bearer' },
      });
    }
  });

  it('a request with the token has a line in the log, without the token', async () => {
    const answer = await post(gateway.url, '/admin/sinks/off?by=ann', bearer(ADMIN_TOKEN));
    expect(answer).toEqual({ status: 200, body: { done: true } });
    const lines = gateway.log.filter((line) => line.includes('/admin/'));
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
      expect.objectContaining({ level: 30, context: 'admin', msg: 'POST /admin/sinks/off?by=ann from 127.0.0.1' }),
    ]);
    expect(gateway.log.join()).not.toContain(ADMIN_TOKEN);
  });

  it('pages of other origins cannot send requests of operators, even if they may count', async () => {
    const preflight = {
      Origin: PAGE,
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'authorization',
    };
    const checked = await requestRaw(`${gateway.url}/admin/sinks/off`, preflight, { method: 'OPTIONS' });
    const sent = await requestRaw(
      `${gateway.url}/ADMIN/sinks/off`,
      { Origin: PAGE, ...bearer(ADMIN_TOKEN) },
      { method: 'POST' },
    );
    for (const { headers } of [checked, sent]) {
      expect(Object.keys(headers).filter((name) => name.startsWith('access-control-'))).toEqual([]);
    }
    expect(checked.status).toBe(404);
    const counts = await requestRaw(`${gateway.url}/v1/42/likes`, { Origin: PAGE });
    expect(counts.headers['access-control-allow-origin']).toBe(PAGE);
  });

  it('a gateway without sinks has none that could adopt its store', async () => {
    expect(await post(gateway.url, '/admin/sinks/adopt', bearer(ADMIN_TOKEN))).toMatchObject({
      status: 400,
      body: { code: 'BAD_REQUEST', message: 'this gateway has no SINK_URL: use a gateway that has it' },
    });
  });

  it('a command prints what the gateway answered, and exits with code 1 after an error', async () => {
    const env = { ADMIN_TOKEN, TALLYCAST_URL: gateway.url };
    expect(await runCommand(['sink', 'off'], env)).toEqual({ status: 0, stdout: '{"done":true}\n', stderr: '' });
    expect(await runCommand(['sink', 'adopt', '--url', `${gateway.url}/`], { ADMIN_TOKEN })).toEqual({
      status: 1,
      stdout: '',
      stderr: 'BAD_REQUEST: this gateway has no SINK_URL: use a gateway that has it\n',
    });
    expect(await runCommand(['sink', 'off'], { ...env, ADMIN_TOKEN: '' })).toMatchObject({
      status: 1,
      stderr: "ADMIN_TOKEN is not set: the environment must have the gateway's\n",
    });
    expect(await runCommand(['sink', 'off'], { ...env, ADMIN_TOKEN: `${ADMIN_TOKEN}\n!` })).toEqual({
      status: 1,
      stdout: '',
      stderr: "ADMIN_TOKEN has a space, a line break or a character that is not ASCII: set it to the gateway's\n",
    });
    expect(await runCommand(['sink', 'off'], { ...env, ADMIN_TOKEN: 'another-token-of-16' })).toMatchObject({
      status: 1,
      stderr: 'UNAUTHORIZED: send the ADMIN_TOKEN of this gateway as Authorization: Bearer\n',
    });
  });
});

describe('a gateway without ADMIN_TOKEN', () => {
  it('a gateway without ADMIN_TOKEN takes no requests of operators', async () => {
    const { url } = await startGateway();
    for (const headers of [{}, bearer(''), bearer(ADMIN_TOKEN)]) {
      expect(await post(url, '/admin/sinks/off', headers)).toMatchObject({
        status: 403,
        body: {
          code: 'FORBIDDEN',
          message: 'this gateway has no ADMIN_TOKEN: set it to 16 to 256 visible ASCII characters',
        },
      });
    }
  });
});

describe('a gateway with OPS_PORT', () => {
  it('the port for operators serves their requests, and the other one does not', async () => {
    const gateway = await startGateway({ ADMIN_TOKEN, OPS_PORT: '0' });
    const { opsUrl } = JSON.parse(gateway.log.find((line) => line.includes('"listening"'))!) as { opsUrl: string };
    expect(await post(gateway.url, '/admin/sinks/off', bearer(ADMIN_TOKEN))).toMatchObject({ status: 404 });
    expect(await post(opsUrl, '/admin/sinks/off', bearer(ADMIN_TOKEN))).toEqual({ status: 200, body: { done: true } });
    expect(await runCommand(['sink', 'off'], { ADMIN_TOKEN, TALLYCAST_URL: gateway.url })).toMatchObject({
      status: 1,
      stderr: `${gateway.url} has no /admin/sinks/off: name the gateway's OPS_PORT if it has one, else its BASE_PATH\n`,
    });
  });
});
