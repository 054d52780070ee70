import { describe, expect, it, test } from '@jest/globals';
import { help, parseArguments } from './arguments.js';

describe('the command line', () => {
  it('has a default for every option', () => {
    expect(parseArguments([])).toMatchObject({ url: 'http://127.0.0.1:3000', durationS: 30, json: null, report: null });
  });

  it('gives each run its own posts', () => {
    expect(parseArguments([])?.prefix).not.toBe(parseArguments([])?.prefix);
  });

  it('has an actor for every 25 operations a second', () => {
    expect(parseArguments(['--likes', '2000', '--views', '5000', '--threads', '2'])?.actors).toBe(280);
    expect(parseArguments(['--likes', '1', '--views', '0', '--threads', '4'])?.actors).toBe(4);
  });

  it('has a help option', () => {
    expect(parseArguments(['--help'])).toBeNull();
    expect(help()).toContain('--viewers');
  });
});

const WRONG: [string[], string][] = [
  [['--viewers', 'many'], '--viewers must be a whole number from 0 to 25000, not "many"'],
  [['--viewers=-1'], '--viewers must be a whole number from 0 to 25000, not "-1"'],
  [['--duration', '0'], '--duration must be a whole number from 1 to 3600, not "0"'],
  [['--likes', '1e3'], '--likes must be a whole number from 0 to 100000, not "1e3"'],
  [['--url', 'localhost:3000'], '--url must be like http://127.0.0.1:3000, not "localhost:3000"'],
  [['--prefix', 'a b'], '--prefix must be 1 to 48 characters of A-Z a-z 0-9 _ . : -, not "a b"'],
  [['--posts', '3', '--watch', '4'], '--watch must be at most --posts, 3, not 4'],
  [['--viewers', '25000', '--watch', '100'], '--viewers times --watch must be at most 1000000, not 2500000'],
  [['--actors', '1', '--threads', '2'], '--actors must be at least --threads, 2, not 1'],
  [['--viewers', '0', '--likes', '0', '--views', '0'], 'one of --viewers, --likes and --views must be over 0'],
];

test.each(WRONG)('the error for %j says what would be right', (args, message) => {
  expect(() => parseArguments(args)).toThrow(message);
});

test.each([[['--veiwers', '3']], [['--viewers']], [['3']]])(
  'the error for %j is one line that lists the options',
  (args) => {
    expect(() => parseArguments(args)).toThrow(/^[^\n]+; the options are --viewers, [^\n]+$/);
  },
);
