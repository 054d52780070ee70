import { expect, test } from '@jest/globals';
import { type IncarnationStart, NOT_SYNCED } from '../counters/changed-posts.js';
import { type CopyDecision, decideCopy, decideStoredCopy, LOSS_MAX_MS } from './copy-decision.js';
import type { SinkPosition } from './sink.js';

const NOW_MS = Date.UTC(2026, 0, 1);
const FIRST = { epoch: 1, nonce: 11 };
const SECOND = { epoch: 2, nonce: 22 };
const THIRD = { epoch: 3, nonce: 33 };

/** The bucket started its second incarnation at seq 20 and its third one at seq 30; changes up to seq 9 were dropped. */
const STARTS: readonly IncarnationStart[] = [
  { ...FIRST, startSeq: 2, startMs: 0 },
  { ...SECOND, startSeq: 20, startMs: NOW_MS },
  { ...THIRD, startSeq: 30, startMs: NOW_MS + 1_000 },
];
const HISTORY = { starts: STARTS, droppedUpTo: 9 };

type Case = readonly [title: string, position: SinkPosition | undefined, own: CopyDecision, stored: CopyDecision];

function at(incarnation: { epoch: number; nonce: number }, upTo: number, afterMs = 0): SinkPosition {
  return { ...incarnation, upTo, changedAtMs: NOW_MS + afterMs, isComplete: upTo !== NOT_SYNCED };
}

function amid(incarnation: { epoch: number; nonce: number }, upTo: number): SinkPosition {
  return { ...at(incarnation, upTo), isComplete: false };
}

const CASES: readonly Case[] = [
  ['a new copy', undefined, 'full-sync', 'full-sync'],
  ['a copy of the current incarnation', at(THIRD, 35), 'changes', 'changes'],
  ['a copy of the current incarnation at the last dropped seq', at(THIRD, 9), 'changes', 'changes'],
  ['a copy of the current incarnation below it', at(THIRD, 8), 'full-sync', 'full-sync'],
  ['a full sync of the current incarnation that did not end', at(THIRD, NOT_SYNCED), 'full-sync', 'full-sync'],
  ['a copy below all later starts', at(FIRST, 19), 'changes', 'full-sync'],
  ['a copy below all later starts with more pages to come', amid(FIRST, 19), 'full-sync', 'full-sync'],
  ['a copy of the current incarnation with more pages to come', amid(THIRD, 35), 'changes', 'changes'],
  ['a copy below all later starts and what was dropped', at(FIRST, 8), 'full-sync', 'full-sync'],
  ['a copy at a later start', at(FIRST, 20), 'full-sync', 'full-sync'],
  ['a copy between two later starts', at(FIRST, 25), 'full-sync', 'full-sync'],
  ['a copy of the second incarnation below the third one', at(SECOND, 29), 'changes', 'full-sync'],
  ['a copy of the second incarnation past the third one', at(SECOND, 31), 'full-sync', 'full-sync'],
  ['a copy past a start that lacks a minute of it', at(FIRST, 20, LOSS_MAX_MS), 'full-sync', 'full-sync'],
  ['a copy past a start that lacks more than a minute of it', at(FIRST, 20, LOSS_MAX_MS + 1), 'halt', 'full-sync'],
  ['a copy below a start, long before', at(FIRST, 19, LOSS_MAX_MS + 1), 'changes', 'full-sync'],
  ['a full sync of an earlier incarnation that did not end', at(FIRST, NOT_SYNCED), 'full-sync', 'full-sync'],
  ['one that the store has lost', at(FIRST, NOT_SYNCED, LOSS_MAX_MS + 1), 'halt', 'full-sync'],
  ['a copy of an unknown incarnation', at({ epoch: 2, nonce: 23 }, 15), 'halt', 'full-sync'],
  ['a copy of a later incarnation', at({ epoch: 4, nonce: 44 }, 15), 'halt', 'full-sync'],
];

test.each(CASES)('%s is continued as it has to be', (_, position, own, stored) => {
  expect(decideCopy(position, HISTORY)).toBe(own);
  expect(decideStoredCopy(position, HISTORY)).toBe(stored);
});
