import { describe, expect, test } from '@jest/globals';
import type { Update } from '../../src/protocol/messages.js';
import { type Change, WatchedPost } from './watched-post.js';

function update(v: number, likes: number, more: Partial<Update> = {}): Update {
  return { post: 'p', e: 'e1', v, likes, views: 0, live: 1, ...more };
}

function watch(intended: () => boolean | undefined = () => undefined): { post: WatchedPost; heard: Change[] } {
  const post = new WatchedPost(intended);
  const heard: Change[] = [];
  post.add({ changed: (change) => heard.push(change), refused: undefined });
  return { post, heard };
}

describe('a watched post', () => {
  test('counts at or below the known version are old', () => {
    const { post, heard } = watch();
    post.take(update(5, 10), 'frame');
    post.take(update(5, 99), 'frame');
    post.take(update(4, 9), 'ack');
    expect(heard.map(({ counts }) => counts.likes)).toEqual([10]);
  });

  test('another epoch replaces what is known, whatever its version', () => {
    const { post, heard } = watch();
    post.take(update(5, 10), 'frame');
    post.take(update(1, 7, { e: 'e2' }), 'frame');
    expect(heard.at(-1)).toMatchObject({ counts: { likes: 7 }, delta: { likes: -3 } });
    expect(post.version).toEqual({ e: 'e2', v: 1 });
  });

  test('live is taken as it comes', () => {
    const { post, heard } = watch();
    post.take(update(5, 10), 'frame');
    post.take(update(5, 99, { live: 3 }), 'frame');
    expect(heard.at(-1)).toMatchObject({ counts: { likes: 10, live: 3 }, delta: { live: 2 } });
  });

  test('what an acknowledgement has shown is not animated again by the frame', () => {
    const { post, heard } = watch();
    post.take(update(1, 0), 'snapshot');
    post.acknowledged(update(2, 1), true);
    post.take(update(3, 2, { d: { likes: 2 } }), 'frame');
    expect(heard.map(({ delta }) => delta)).toEqual([{}, { likes: 1 }, { likes: 1 }]);
  });

  test('a snapshot that a frame overtook still tells the own toggles', () => {
    const { post, heard } = watch();
    post.take(update(6, 11), 'frame');
    post.snapshot({ ...update(5, 10), mine: ['likes'] });
    expect(heard.at(-1)).toMatchObject({ counts: { likes: 11 }, mine: ['likes'] });
  });

  test('a snapshot does not undo a like that was acknowledged after it was taken', () => {
    const { post, heard } = watch();
    post.acknowledged(update(6, 11), true);
    post.snapshot({ ...update(5, 10), mine: [] });
    expect(heard.at(-1)?.mine).toEqual(['likes']);
  });

  test('a like that waits for its acknowledgement shows as it was asked for', () => {
    let intended: boolean | undefined;
    const { post, heard } = watch(() => intended);
    post.snapshot({ ...update(5, 10), mine: [] });
    intended = true;
    post.tell('local');
    expect(heard.at(-1)).toMatchObject({ mine: ['likes'], delta: {}, source: 'local' });
    intended = undefined;
    post.tell('local');
    expect(heard.at(-1)?.mine).toEqual([]);
  });

  test('a toggle changed in another tab shows here', () => {
    const { post, heard } = watch();
    post.snapshot({ ...update(5, 10), mine: ['saves'] });
    post.mine('likes', true);
    post.mine('saves', false);
    expect(heard.map(({ mine }) => mine)).toEqual([['saves'], ['likes', 'saves'], ['likes']]);
  });

  test('who subscribes later is told what is known at once', () => {
    const { post } = watch();
    post.take(update(5, 10), 'frame');
    const heard: Change[] = [];
    post.add({ changed: (change) => heard.push(change), refused: undefined });
    expect(heard).toMatchObject([{ counts: { likes: 10 }, delta: {}, source: 'snapshot' }]);
  });
});
