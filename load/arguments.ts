import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';

/** The parsed command line. */
export interface Load {
  readonly url: string;
  /** Connections that watch. */
  readonly viewers: number;
  /** Posts that each of them watches. */
  readonly watch: number;
  /** Likes and unlikes a second of all actors together. */
  readonly likes: number;
  /** Views a second of all actors together. */
  readonly views: number;
  readonly posts: number;
  /** Connections that act. */
  readonly actors: number;
  readonly durationS: number;
  readonly rampS: number;
  readonly threads: number;
  readonly seed: number;
  readonly prefix: string;
  readonly json: string | null;
  readonly report: string | null;
}

/** Wrong arguments. The message is one line that says what would be right. */
export class ArgumentError extends Error {}

interface NumberOption {
  readonly min: number;
  readonly max: number;
  readonly default: number | null;
  readonly description: string;
}

/** Half of the default limit of a connection, so that an actor can catch up after a pause. */
const OPS_PER_ACTOR = 25;
/** A process keeps state for each subscription. For more of them run this program on several machines. */
const SUBSCRIPTIONS_MAX = 1_000_000;
const URL_DEFAULT = 'http://127.0.0.1:3000';
/** Leaves room for the post's number in an id of 64 characters. */
const PREFIX = /^[A-Za-z0-9_.:-]{1,48}$/;

const NUMBERS = {
  viewers: { min: 0, max: 25_000, default: 1_000, description: 'connections that watch' },
  watch: { min: 1, max: 500, default: 1, description: 'posts that each of them watches' },
  likes: { min: 0, max: 100_000, default: 200, description: 'likes and unlikes a second' },
  views: { min: 0, max: 100_000, default: 500, description: 'views a second' },
  posts: { min: 1, max: 10_000, default: 100, description: 'posts that they are spread over' },
  actors: {
    min: 1,
    max: 10_000,
    default: null,
    description: `connections that act [one for ${OPS_PER_ACTOR} operations a second]`,
  },
  duration: { min: 1, max: 3_600, default: 30, description: 'seconds at the full rate' },
  ramp: { min: 0, max: 600, default: 3, description: 'seconds before them in which the rate grows' },
  threads: { min: 1, max: 32, default: null, description: 'worker threads [half of the cores]' },
  seed: { min: 0, max: 2 ** 31 - 1, default: 1, description: 'of the random choice of posts' },
} satisfies Record<string, NumberOption>;

const STRINGS = {
  url: `the gateway [${URL_DEFAULT}]`,
  prefix: 'of the posts, to follow or reuse them [random]',
  json: 'FILE  write all figures there',
  report: 'FILE  write a page with plots there',
};

type NumberName = keyof typeof NUMBERS;

export function help(): string {
  const numbers = Object.entries(NUMBERS).map(([name, { default: value, min, max, description }]) => {
    const range = `${min} to ${max}${value === null ? '' : `, ${value} if left out`}`;
    return `  --${name.padEnd(9)} ${description} (${range})`;
  });
  const strings = Object.entries(STRINGS).map(([name, text]) => `  --${name.padEnd(9)} ${text}`);
  return `npm run load -- [options]
Loads a gateway with viewers, likes and views, and checks that it counts exactly.

${[...strings, ...numbers].join('\n')}

Each viewer's last state is checked in the end; one viewer in 50, at least 20 a thread, checks every frame.
The exit code is 0 if all counts are exact and all viewers show them, 1 if not, 2 if the run failed.
With JWT_SECRET in the environment each actor has a token. load/README.md explains the figures.
`;
}

/** @returns the load, or null for `--help`. @throws ArgumentError */
export function parseArguments(args: readonly string[]): Load | null {
  const values = parseOptions(args);
  if (values['help'] === true) return null;
  const number = (name: NumberName): number | null => parseNumber(name, values[name]);
  const likes = number('likes')!;
  const views = number('views')!;
  const threads =
    number('threads') ?? Math.min(NUMBERS.threads.max, Math.max(1, Math.floor(availableParallelism() / 2)));
  const load: Load = {
    url: parseUrl(values['url']),
    viewers: number('viewers')!,
    watch: number('watch')!,
    likes,
    views,
    posts: number('posts')!,
    actors: number('actors') ?? Math.max(threads, Math.ceil((likes + views) / OPS_PER_ACTOR)),
    durationS: number('duration')!,
    rampS: number('ramp')!,
    threads,
    seed: number('seed')!,
    prefix: parsePrefix(values['prefix']),
    json: parseString(values['json']),
    report: parseString(values['report']),
  };
  checkCombination(load);
  return load;
}

function parseOptions(args: readonly string[]): Record<string, string | boolean | undefined> {
  const names = [...Object.keys(NUMBERS), ...Object.keys(STRINGS)];
  const options = Object.fromEntries(names.map((name) => [name, { type: 'string' as const }]));
  try {
    return parseArgs({ args: [...args], options: { ...options, help: { type: 'boolean', short: 'h' } } }).values;
  } catch (error) {
    const [problem] = (error as Error).message.split(/[.\n]/);
    throw new ArgumentError(`${problem!}; the options are --${names.join(', --')}`);
  }
}

function parseNumber(name: NumberName, text: string | boolean | undefined): number | null {
  const { min, max, default: value } = NUMBERS[name];
  if (typeof text !== 'string') return value;
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < min || number > max) {
    throw new ArgumentError(`--${name} must be a whole number from ${min} to ${max}, not "${text}"`);
  }
  return number;
}

function parseUrl(text: string | boolean | undefined): string {
  const url = typeof text === 'string' ? text : URL_DEFAULT;
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new ArgumentError(`--url must be like ${URL_DEFAULT}, not "${url}"`);
  }
  return new URL(url).origin;
}

function parsePrefix(text: string | boolean | undefined): string {
  const prefix = typeof text === 'string' ? text : `load-${randomBytes(4).toString('hex')}`;
  if (!PREFIX.test(prefix)) {
    throw new ArgumentError(`--prefix must be 1 to 48 characters of A-Z a-z 0-9 _ . : -, not "${prefix}"`);
  }
  return prefix;
}

function parseString(text: string | boolean | undefined): string | null {
  return typeof text === 'string' ? text : null;
}

function checkCombination({ viewers, watch, posts, likes, views, actors, threads }: Load): void {
  if (actors < threads) throw new ArgumentError(`--actors must be at least --threads, ${threads}, not ${actors}`);
  if (watch > posts) throw new ArgumentError(`--watch must be at most --posts, ${posts}, not ${watch}`);
  if (viewers * watch > SUBSCRIPTIONS_MAX) {
    throw new ArgumentError(`--viewers times --watch must be at most ${SUBSCRIPTIONS_MAX}, not ${viewers * watch}`);
  }
  if (viewers + likes + views === 0) throw new ArgumentError('one of --viewers, --likes and --views must be over 0');
}
