import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { closeClients, connect, expectOk } from '../support/clients.js';
import { type GatewayProcess, ROOT, startGateway, stopAll } from '../support/gateway-process.js';
import { readMetrics, untilMetric } from '../support/metrics.js';
import { Polling } from '../support/polling.js';
import { RawSocket } from '../support/raw-socket.js';

const POST_SECRET = 'the-secret-by-which-a-page-signs-its-posts';
const UP = { method: 'PUT', body: '{"action":"increment"}' };
const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const FORBIDDEN = { code: 'FORBIDDEN', message: expect.stringContaining('must be signed'), retryable: false };

function signed(name: string, secret = POST_SECRET): string {
  const digest = createHmac('sha256', secret).update(name).digest();
  return `${name}.${digest.subarray(0, 16).toString('base64url')}`;
}

/** The same bytes in base64url with other unused bits in the last character. */
function spelledOtherwise(id: string): string {
  return id.slice(0, -1) + BASE64URL[BASE64URL.indexOf(id.at(-1)!) + 1]!;
}

const RIGHT = signed('article-42');
const WRONG: Readonly<Record<string, string>> = {
  'without a signature': 'article-42',
  'with a signature of another name': `article-43.${RIGHT.split('.')[1]!}`,
  'with a signature by another secret': signed('article-42', 'another secret of no less than 32 characters'),
  'with one character changed': RIGHT.replace('article', 'articlE'),
  'with its last character spelled otherwise': spelledOtherwise(RIGHT),
  'of a signature alone': RIGHT.slice(RIGHT.indexOf('.')),
  'with a part of its signature': RIGHT.slice(0, -1),
  'with more behind its signature': `${RIGHT}x`,
};

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway({ POST_SECRET });
});

afterAll(async () => {
  await closeClients();
  await stopAll();
});

async function readResponse(path: string, init?: RequestInit): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${gateway.url}${path}`, init);
  return { status: response.status, body: await response.json() };
}

describe('with POST_SECRET', () => {
  it('a post with a signed id is counted and read like any other', async () => {
    const client = connect(gateway.url, { actor: 'ada' });
    expectOk(await client.emitWithAck('subscribe', { posts: [RIGHT] }));
    const { counts } = expectOk(await client.emitWithAck('like', { post: RIGHT }));
    expect(counts).toMatchObject({ post: RIGHT, likes: 1 });
    expectOk(await client.emitWithAck('add', { post: RIGHT, metric: 'views', by: 2 }));
    expect((await readResponse(`/v1/${RIGHT}/views`, UP)).body).toMatchObject({ count: 3 });
    expect((await readResponse(`/v1/counts?posts=${RIGHT}`)).body).toMatchObject({
      counts: [{ post: RIGHT, likes: 1 }],
    });
    const stream = await fetch(`${gateway.url}/v1/stream?posts=${RIGHT}`);
    expect(stream.status).toBe(200);
    await stream.body!.cancel();
    client.close();
    await untilMetric(gateway.url, 'tallycast_watched_posts', 0);
  });

  it('a signed id may have dots and a text that looks like a signature in its name', async () => {
    for (const name of ['a.b', RIGHT.slice(0, 41), '.', '__proto__']) {
      expect((await readResponse(`/v1/${signed(name)}/views`, UP)).body).toMatchObject({ count: 1 });
    }
  });

  it.each(Object.entries(WRONG))('an id %s is rejected by every event that acts', async (_, post) => {
    const raw = await RawSocket.connect(gateway.url);
    const events: [string, object][] = [
      ['like', { post }],
      ['like', { post, seq: 1 }],
      ['unlike', { post }],
      ['view', { post }],
      ['add', { post, metric: 'views', by: 2 }],
      ['set', { post, metric: 'likes', on: true }],
      ['subscribe', { posts: [post] }],
    ];
    for (const event of events) {
      expect(await raw.emitWithAck(`2#${JSON.stringify(event)}`)).toEqual({ ok: false, error: FORBIDDEN });
    }
    raw.destroy();
    const polling = await Polling.connect(gateway.url);
    const [answer] = await polling.emitWithAck([`2#["view",{"post":"${post}"}]`]);
    expect(answer).toEqual({ ok: false, error: FORBIDDEN });
  });

  it.each(Object.entries(WRONG))('an id %s is rejected by every HTTP route', async (_, post) => {
    const rejected = { status: 403, body: FORBIDDEN };
    expect(await readResponse(`/v1/${post}/likes`, UP)).toEqual(rejected);
    for (const path of [
      `${post}/likes`,
      `${post}/live`,
      `${post}/likes.svg`,
      `${post}/likes/milestones`,
      `counts?posts=${post}`,
      `stream?posts=${post}`,
    ]) {
      expect(await readResponse(`/v1/${path}`)).toEqual(rejected);
    }
  });

  it('a list is rejected with the name of its first id that is not signed', async () => {
    const client = connect(gateway.url);
    const posts = [RIGHT, 'made-up', 'made-up-too'];
    const answer = (await client.emitWithAck('subscribe', { posts })) as unknown as { error: { message: string } };
    expect(answer.error.message).toMatch(/^posts\[1\] must be signed by the page's server: <name>\.<signature>/);
    expect((await readResponse(`/v1/counts?posts=${posts.join(',')}`)).status).toBe(403);
    expect((await readMetrics(gateway.url)).get('tallycast_watched_posts')).toBe(0);
  });

  it('the log names the address once, and what the page must do', async () => {
    const suspicious = (await readMetrics(gateway.url)).get('tallycast_suspicious_total{kind="unsigned-posts"}');
    expect(suspicious).toBeGreaterThan(Object.keys(WRONG).length * 10);
    const lines = gateway.log.filter((line) => line.includes('unsigned-posts'));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('POST_SECRET');
  });
});

it.each([
  ['js', process.execPath, '--input-type=module', "console.log(signPost('article-42', process.argv.at(-1)));"],
  [
    'python',
    process.env['PYTHON_BIN'] ?? '/usr/bin/python3',
    '-',
    "import sys\nprint(sign_post('article-42', sys.argv[-1]))",
  ],
])(
  'the example in docs/operations.md for %s signs an id as the gateway expects it',
  (language, program, flag, call) => {
    const document = readFileSync(join(ROOT, 'docs', 'operations.md'), 'utf8');
    const code = new RegExp(`\\n\`\`\`${language}\\n((?:(?!\`\`\`)[^])*sign_?[pP]ost(?:(?!\`\`\`)[^])*)\`\`\``).exec(
      document,
    )![1]!;
    const args = language === 'js' ? [flag, '-', POST_SECRET] : [flag, POST_SECRET];
    const printed = execFileSync(program, args, { input: `${code}\n${call}\n`, encoding: 'utf8' });
    expect(printed).toBe(`${RIGHT}\n`);
    const example = 'an-example-secret-of-32-characters';
    expect(document).toContain(`\`${example}\` becomes \`${signed('article-42', example)}\``);
  },
);

it('a secret of less than 32 characters stops the boot with one line', async () => {
  await expect(startGateway({ POST_SECRET: 'too short' })).rejects.toThrow(
    'POST_SECRET must be 32 to 256 visible ASCII characters',
  );
});
