import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type GatewayProcess, startGateway, stopAll } from '../../test/support/gateway-process.js';
import type { PageChange } from '../src/environment.js';
import { createLiveCounts } from '../src/live-counts-http.js';
import type { LiveCounts } from '../src/live-counts.js';
import { closeClients, connect, PostWatcher, reached } from './clients.js';

let gateway: GatewayProcess;

beforeAll(async () => {
  gateway = await startGateway();
});

afterEach(closeClients);
afterAll(stopAll);

const ignore = (): void => undefined;

class ShownPage {
  hidden = false;
  #changed: (change: PageChange) => void = ignore;

  onChange(call: (change: PageChange) => void): () => void {
    this.#changed = call;
    return ignore;
  }

  change(change: 'hidden' | 'shown'): void {
    this.hidden = change === 'hidden';
    this.#changed(change);
  }
}

describe.each([
  ['a socket', connect],
  ['an event stream', createLiveCounts],
])('over %s', (kind, open) => {
  const post = kind.replaceAll(' ', '-');
  let live: LiveCounts;

  afterEach(() => live.close());

  test('a client is a viewer of a post while one of its subscribers wants it to be', async () => {
    const seen = new PostWatcher(connect(gateway.url, { actor: 'bob' }), post);
    await seen.until(({ counts }) => counts.live === 1);
    live = open(gateway.url, { actor: 'ann' });
    live.post(post).subscribe(ignore, undefined, { present: false });
    await reached(live, 'synced');
    const [one, other] = [live.post(post).subscribe(ignore), live.post(post).subscribe(ignore)];
    await seen.until(({ counts }) => counts.live === 2);
    one();
    other();
    expect(live.state).toBe('synced');
    await seen.until(({ counts }) => counts.live === 1);
    expect(live.watched).toBe(1);
    // The presence and the absence were the only changes: nobody was counted before the first subscriber with it.
    expect(seen.changes.map(({ counts }) => counts.live)).toEqual([1, 2, 1]);
  });

  test('a client is no viewer while its page is hidden', async () => {
    const watched = `${post}-hidden`;
    const seen = new PostWatcher(connect(gateway.url, { actor: 'bob' }), watched);
    await seen.until(({ counts }) => counts.live === 1);
    const page = new ShownPage();
    live = open(gateway.url, { actor: 'ann', environment: { page } });
    live.post(watched).subscribe(ignore);
    await seen.until(({ counts }) => counts.live === 2);
    page.change('hidden');
    await seen.until(({ counts }) => counts.live === 1);
    page.change('shown');
    await seen.until(({ counts }) => counts.live === 2);
    expect(live.state).toBe('synced');
  });
});
