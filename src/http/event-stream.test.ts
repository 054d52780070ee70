import { beforeEach, describe, expect, it } from '@jest/globals';
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Clock } from '../common/clock.js';
import { Frame, EncodedUpdate } from '../fanout/frame.js';
import { EventStream } from './event-stream.js';

/** A response whose client reads when the test emits `drain`. */
class FakeResponse extends EventEmitter {
  readonly written: string[] = [];
  /** Whether the client keeps up. */
  reads = true;
  ended = false;
  destroyed = false;
  status = 0;
  readonly req = { socket: { destroy: () => (this.destroyed = true) } };

  writeHead(status: number): this {
    this.status = status;
    return this;
  }

  write(text: string): boolean {
    this.written.push(text);
    return this.reads;
  }

  end(text: string): void {
    this.written.push(text);
    this.ended = true;
  }
}

/** A clock that the test advances. */
class FakeClock implements Clock {
  #now = 0;
  #timers: { readonly atMs: number; readonly call: () => void }[] = [];

  nowMs = () => this.#now;
  wallMs = () => this.#now;
  soon = (call: () => void) => call();

  after(ms: number, call: () => void) {
    const timer = { atMs: this.#now + ms, call };
    this.#timers.push(timer);
    return { cancel: () => void (this.#timers = this.#timers.filter((one) => one !== timer)) };
  }

  get waiting(): number {
    return this.#timers.length;
  }

  pass(ms: number): void {
    this.#now += ms;
    const due = this.#timers.filter(({ atMs }) => atMs <= this.#now);
    this.#timers = this.#timers.filter(({ atMs }) => atMs > this.#now);
    for (const { call } of due) call();
  }
}

const HEARTBEAT_MS = 15_000;
const FINAL_READ_MS = 5_000;

let response: FakeResponse;
let clock: FakeClock;
let stream: EventStream;

beforeEach(() => {
  response = new FakeResponse();
  clock = new FakeClock();
  stream = new EventStream(response as unknown as ServerResponse, clock);
});

describe('an event stream', () => {
  it('a stream takes no frames before its snapshot', () => {
    expect(stream.hasUnsent).toBe(true);
    stream.start('[1]');
    expect(stream.hasUnsent).toBe(false);
    expect(response.status).toBe(200);
    expect(response.written).toEqual(['event: counts\ndata: [1]\n\n']);
  });

  it('a stream has unsent frames from a write that filled the buffer until the client has read', () => {
    stream.start('[1]');
    response.reads = false;
    stream.write(new Frame([new EncodedUpdate('2')]));
    expect(stream.hasUnsent).toBe(true);
    response.emit('drain');
    expect(stream.hasUnsent).toBe(false);
  });

  it("changes of the actor's toggles follow the snapshot, of each toggle the newest when the client has read", () => {
    const change = (metric: string, on: boolean) => ({ post: 'a', metric, on });
    const write = (event: object) => `event: mine\ndata: ${JSON.stringify(event)}\n\n`;
    stream.sendMine(change('likes', true));
    expect(response.written).toEqual([]);
    stream.start('[1]');
    expect(response.written.splice(0)).toEqual(['event: counts\ndata: [1]\n\n', write(change('likes', true))]);
    response.reads = false;
    stream.sendMine(change('saves', true));
    stream.sendMine(change('likes', true));
    stream.sendMine(change('likes', false));
    stream.sendMine(change('saves', false));
    stream.sendMine({ post: 'b', metric: 'likes', on: true });
    expect(response.written.splice(0)).toEqual([write(change('saves', true))]);
    response.emit('drain');
    expect(response.written.splice(0)).toEqual([write(change('likes', false))]);
    response.reads = true;
    response.emit('drain');
    expect(response.written).toEqual([write(change('saves', false)), write({ post: 'b', metric: 'likes', on: true })]);
    expect(stream.hasUnsent).toBe(false);
  });

  it('milestones follow the snapshot, and of those that wait for the client the first 16 follow when it has read', () => {
    const write = (n: number) => `event: milestone\ndata: {"n":${n}}\n\n`;
    const send = (n: number) => stream.sendMilestone({ body: `{"n":${n}}` });
    send(1);
    expect(response.written).toEqual([]);
    stream.start('[1]');
    expect(response.written.splice(0)).toEqual(['event: counts\ndata: [1]\n\n', write(1)]);
    response.reads = false;
    for (let n = 2; n <= 20; n++) send(n);
    expect(response.written.splice(0)).toEqual([write(2)]);
    response.reads = true;
    response.emit('drain');
    expect(response.written.splice(0)).toEqual(Array.from({ length: 16 }, (_, i) => write(3 + i)));
    send(21);
    expect(response.written).toEqual([write(21)]);
  });

  it('a stream sends heartbeats only to clients that have nothing to read', () => {
    stream.start('[1]');
    clock.pass(HEARTBEAT_MS);
    expect(response.written.splice(0)).toEqual(['event: counts\ndata: [1]\n\n', ': heartbeat\n\n']);
    response.reads = false;
    stream.write(new Frame([new EncodedUpdate('2')]));
    clock.pass(HEARTBEAT_MS);
    expect(response.written.splice(0)).toEqual(['event: counts\ndata: [2]\n\n']);
    response.emit('drain');
    clock.pass(HEARTBEAT_MS);
    expect(response.written).toEqual([': heartbeat\n\n']);
    expect(stream.hasUnsent).toBe(true);
  });

  it('a stream ends with one bye and takes nothing more', () => {
    stream.start('[1]');
    stream.sendBye({ reason: 'closing', retryAfterMs: 700 });
    stream.sendBye({ reason: 'again', retryAfterMs: 0 });
    expect(response.written.slice(1)).toEqual([
      'retry: 700\nevent: bye\ndata: {"reason":"closing","retryAfterMs":700}\n\n',
    ]);
    expect(response.ended).toBe(true);
    stream.write(new Frame([new EncodedUpdate('2')]));
    expect(response.written).toHaveLength(2);
    response.emit('drain');
    expect(stream.hasUnsent).toBe(true);
  });

  it('a stream is disconnected if its bye is not read in time', () => {
    stream.start('[1]');
    stream.sendBye({ reason: 'closing', retryAfterMs: 0 });
    clock.pass(FINAL_READ_MS - 1);
    expect(response.destroyed).toBe(false);
    clock.pass(1);
    expect(response.destroyed).toBe(true);
  });

  it('a stream ends when its token expires', () => {
    stream.start('[1]');
    stream.expireAt(clock.wallMs() + 1_000);
    clock.pass(1_000);
    expect(response.ended).toBe(true);
    expect(response.written.at(-1)).toContain('the token has expired');
  });

  it('a closed stream leaves no timers behind', () => {
    stream.start('[1]');
    stream.expireAt(clock.wallMs() + 1_000);
    stream.dispose();
    expect(clock.waiting).toBe(0);
  });
});
