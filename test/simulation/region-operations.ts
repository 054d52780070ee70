import { LIKES, VIEWS } from '../../src/counters/metrics.js';
import type { Operation } from '../../src/counters/operation.js';
import { key } from '../contract/operations.js';

export function view(post: string, by = 1): Operation {
  return { post, metric: VIEWS, kind: 'add', value: by, actor: null, session: null, seq: 0 };
}

export function like(post: string, actor: number, on: boolean): Operation {
  return { post, metric: LIKES, kind: 'set', value: on ? 1 : 0, actor: key(actor), session: null, seq: 0 };
}

export function anonymousLike(post: string, by: 1 | -1): Operation {
  return { post, metric: LIKES, kind: 'adjust', value: by, actor: null, session: null, seq: 0 };
}
