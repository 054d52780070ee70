import { describe, expect, it } from '@jest/globals';
import { isPostId } from './limits.js';

describe('the id of a post', () => {
  it.each(['a', '42', 'A-z_0.9:', 'x'.repeat(64), '__proto__', '1150000000000000001', '...', '.a', 'a.', '..:'])(
    'the id of a post may be %s',
    (id) => {
      expect(isPostId(id)).toBe(true);
    },
  );

  it.each(['', '.', '..', 'x'.repeat(65), 'a b', 'a/b', 'ä', 'a\n', '\0', 'a{1}', '👍'])(
    'the id of a post may not be %j',
    (id) => {
      expect(isPostId(id)).toBe(false);
    },
  );
});
