import { distance } from 'fastest-levenshtein';
import { ENVIRONMENT } from '../config/environment-schema.js';

/** A parsed command line. */
export type Command =
  | { readonly kind: 'start'; readonly settings: Readonly<Record<string, string>> }
  | { readonly kind: 'help' }
  | { readonly kind: 'version' }
  | { readonly kind: 'sink schema' | 'restore'; readonly settings: Readonly<Record<string, string>> }
  | ({ readonly kind: 'request'; readonly url: string | null } & RemoteRequest);

/** A request of an operator. */
export interface RemoteRequest {
  /** Only POST answers in lines, of which the last one says that it is done. */
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  readonly path: string;
  /** JSON; `null`: none. */
  readonly body: string | null;
  /** Names of fields and parameters that the command line gives as flags: an error about one names its flag. */
  readonly flags?: readonly string[];
}

/** A command that a running gateway carries out. */
interface RemoteCommand {
  readonly name: string;
  readonly path: string;
  readonly summary: string;
  /** POST by default. */
  readonly method?: RemoteRequest['method'];
  /** Arguments before the flags, all required: parameters of the request, or the fields of its body if it is a PUT. */
  readonly operands?: readonly string[];
  /** Flags without a value, which become parameters of the request. */
  readonly switches?: readonly string[];
  /** Flags with a value, which become parameters of the request, or fields of its body if it is a PUT. */
  readonly parameters?: readonly string[];
}

/** The operands of a milestone. */
const MILESTONE = ['post', 'metric', 'at'];
const EXAMPLE = ['42', 'views', '1000000'];
/** Fields of a body that are numbers. */
const NUMBERS: ReadonlySet<string> = new Set(['at', 'from']);

export const REMOTE_COMMANDS: readonly RemoteCommand[] = [
  {
    name: 'audit',
    path: '/admin/audit',
    summary:
      'Compare the sinks with the store; --members: members, too; --repair sends again what differs. Exit code 1 if anything did',
    switches: ['repair', 'members'],
  },
  {
    name: 'sink adopt',
    path: '/admin/sinks/adopt',
    summary: "Overwrite the sinks with the store's counts, even if they are newer",
  },
  { name: 'sink retry', path: '/admin/sinks/retry', summary: 'Write rows again that the sinks rejected' },
  {
    name: 'log status',
    path: '/admin/log/status',
    summary: 'Report how many events are in the log, and how many wait',
  },
  {
    name: 'log dead',
    path: '/admin/log/dead',
    summary: 'List events that cannot be counted; --limit: how many at most, 100 by default',
    parameters: ['limit'],
  },
  { name: 'log retry', path: '/admin/log/retry', summary: 'Count these events if that is possible now' },
  {
    name: 'milestones arm',
    method: 'PUT',
    path: '/admin/milestones',
    summary:
      'Record the operation with which the count of a post first reaches a number. Only with PEERS: --mode order or strict; --from: the count ' +
      'from which strict regions forward; --home: the region of the gateway, to take over from another one',
    operands: MILESTONE,
    parameters: ['mode', 'from', 'home'],
  },
  {
    name: 'milestones disarm',
    method: 'DELETE',
    path: '/admin/milestones',
    summary: 'Take that back, before it is reached',
    operands: MILESTONE,
  },
  {
    name: 'milestones list',
    method: 'GET',
    path: '/admin/milestones',
    summary:
      'List the milestones of a count: those that are armed, and those that were reached, with their winners; with PEERS also which region ' +
      'decides, how, and for which ones it waits',
    operands: ['post', 'metric'],
  },
  { name: 'sink off', path: '/admin/sinks/off', summary: 'Stop recording changes for sinks, when SINK_URL is gone' },
];

const LOCAL_COMMANDS = ['start', 'help', 'version', 'sink schema', 'restore'] as const;
const COMMANDS: readonly string[] = [...LOCAL_COMMANDS, ...REMOTE_COMMANDS.map(({ name }) => name)];
const OTHER_FLAGS = ['--help', '--version'];
const URL_FLAG = '--url';

/** The settings' names, in the order of the schema. */
export const VARIABLES: readonly string[] = Object.keys(ENVIRONMENT.shape);

/** @returns the flag of a setting: `--data-dir` for DATA_DIR */
export function toFlag(variable: string): string {
  return `--${variable.toLowerCase().replaceAll('_', '-')}`;
}

/** Settings and parameters that are true when their flag has no value. */
const SWITCHES: ReadonlySet<string> = new Set(['REQUIRE_TOKEN_TO_READ', 'SINK_MEMBERS', 'repair', 'members']);

const VARIABLE_BY_FLAG = new Map(VARIABLES.map((variable) => [toFlag(variable), variable]));

/**
 * Parses `[COMMAND] [--setting value | --setting=value]…`. readSettings checks the values, as those of the environment.
 * @throws Error with one line that names the nearest command or flag
 */
export function parseCommandLine(args: readonly string[]): Command {
  if (args.some((arg) => arg === '--help' || arg === '-h')) return { kind: 'help' };
  if (args.some((arg) => arg === '--version' || arg === '-v')) return { kind: 'version' };
  const { name, flags } = splitName(args);
  const remote = REMOTE_COMMANDS.find((command) => command.name === name);
  if (remote !== undefined) {
    return parseRequest(remote, flags);
  }
  const kind = name as (typeof LOCAL_COMMANDS)[number];
  if (kind === 'help' || kind === 'version') return { kind };
  return { kind, settings: parseFlags(flags, VARIABLE_BY_FLAG) };
}

function parseRequest(command: RemoteCommand, args: readonly string[]): Command {
  const { path, method = 'POST', switches = [], parameters = [] } = command;
  const { operands, flags } = splitOperands(command, args);
  const named = [...switches, ...parameters];
  const names = new Map([[URL_FLAG, 'url'], ...named.map((name) => [`--${name}`, name] as const)]);
  const { url = null, ...given } = parseFlags(flags, names);
  const fields = { ...operands, ...given };
  const isPut = method === 'PUT';
  const query = isPut ? '' : new URLSearchParams(fields).toString();
  const body = isPut ? JSON.stringify(fields, toNumber) : null;
  return { kind: 'request', method, path: query === '' ? path : `${path}?${query}`, body, flags: named, url };
}

function splitOperands(
  { name, operands = [] }: RemoteCommand,
  args: readonly string[],
): { operands: Readonly<Record<string, string>>; flags: readonly string[] } {
  const given = args.slice(0, operands.length);
  if (given.length < operands.length || given.some((arg) => arg.startsWith('--'))) {
    throw new Error(
      `${name} needs ${describeOperands(operands)}, such as ${EXAMPLE.slice(0, operands.length).join(' ')}`,
    );
  }
  return {
    operands: Object.fromEntries(operands.map((operand, i) => [operand, given[i]!])),
    flags: args.slice(operands.length),
  };
}

/** @returns POST METRIC AT */
export function describeOperands(operands: readonly string[] = []): string {
  return operands.join(' ').toUpperCase();
}

/** A replacer of JSON. The gateway checks the number; a text that is none stays as it is. */
function toNumber(key: string, value: unknown): unknown {
  return NUMBERS.has(key) && typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
}

/** Without a name the command is `start`. A name has one or two texts. */
function splitName(args: readonly string[]): { name: string; flags: readonly string[] } {
  const [first = '--', second = '--'] = args;
  if (first.startsWith('-')) return { name: 'start', flags: args };
  if (COMMANDS.includes(first)) return { name: first, flags: args.slice(1) };
  const pair = second.startsWith('-') ? first : `${first} ${second}`;
  if (COMMANDS.includes(pair)) return { name: pair, flags: args.slice(2) };
  const group = COMMANDS.filter((command) => command.startsWith(`${first} `));
  if (group.length > 0 && pair === first)
    throw new Error(`incomplete command ${first}; expected one of: ${group.join(', ')}`);
  throw new Error(`unknown command ${pair}; did you mean ${nearest(pair, COMMANDS)}? See tallycast --help`);
}

/** @param names by flag: the name under which its value is returned */
function parseFlags(args: readonly string[], names: ReadonlyMap<string, string>): Record<string, string> {
  const values: Record<string, string> = {};
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (!arg.startsWith('--')) throw new Error(`unexpected ${arg}: ${exampleOf(names)}`);
    const [flag, inlineValue] = splitAtEquals(arg);
    const name = names.get(flag);
    if (OTHER_FLAGS.includes(flag)) throw new Error(`${flag} takes no value`);
    if (name === undefined) {
      throw new Error(
        `unknown flag ${flag}; did you mean ${nearest(flag, [...names.keys(), ...OTHER_FLAGS])}? See tallycast --help`,
      );
    }
    if (name in values) throw new Error(`${flag} is given twice`);
    const next = args[i + 1];
    const follows = inlineValue === undefined && next !== undefined && !next.startsWith('--');
    const value = follows ? next : (inlineValue ?? (SWITCHES.has(name) ? 'true' : ''));
    // In the environment an empty value means unset, but an empty flag is a mistake.
    if (value === '') throw new Error(`${flag} needs a value: ${flag} VALUE`);
    values[name] = value;
    if (follows) i += 1;
  }
  return values;
}

function exampleOf(names: ReadonlyMap<string, string>): string {
  if (names.has(URL_FLAG)) return `a gateway is given as ${URL_FLAG} http://127.0.0.1:3000`;
  return `a setting is given as ${toFlag('PORT')} 4000`;
}

function splitAtEquals(arg: string): [flag: string, value: string | undefined] {
  const at = arg.indexOf('=');
  return at < 0 ? [arg, undefined] : [arg.slice(0, at), arg.slice(at + 1)];
}

function nearest(text: string, candidates: readonly string[]): string {
  const lower = text.toLowerCase();
  return candidates.reduce((best, one) => (distance(lower, one) < distance(lower, best) ? one : best));
}
