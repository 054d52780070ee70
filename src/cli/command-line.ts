import { distance } from 'fastest-levenshtein';
import { ENVIRONMENT } from '../config/environment-schema.js';

/** A parsed command line. */
export type Command =
  | { readonly kind: 'start'; readonly settings: Readonly<Record<string, string>> }
  | { readonly kind: 'help' }
  | { readonly kind: 'version' };

const COMMANDS = ['start', 'help', 'version'] as const;
const OTHER_FLAGS = ['--help', '--version'];

/** The settings' names, in the order of the schema. */
export const VARIABLES: readonly string[] = Object.keys(ENVIRONMENT.shape);

/** @returns the flag of a setting: `--data-dir` for DATA_DIR */
export function toFlag(variable: string): string {
  return `--${variable.toLowerCase().replaceAll('_', '-')}`;
}

/** Settings that are true when their flag has no value. */
const SWITCHES: ReadonlySet<string> = new Set(['REQUIRE_TOKEN_TO_READ']);

const VARIABLE_BY_FLAG = new Map(VARIABLES.map((variable) => [toFlag(variable), variable]));

/**
 * Parses `[start|help|version] [--setting value | --setting=value]…`. readSettings checks the values, as those of the environment.
 * @throws Error with one line that names the nearest command or flag
 */
export function parseCommandLine(args: readonly string[]): Command {
  if (args.some((arg) => arg === '--help' || arg === '-h')) return { kind: 'help' };
  if (args.some((arg) => arg === '--version' || arg === '-v')) return { kind: 'version' };
  const [first = 'start'] = args;
  const named = !first.startsWith('-');
  const kind = named ? parseName(first) : 'start';
  if (kind !== 'start') return { kind };
  return { kind, settings: parseSettings(named ? args.slice(1) : args) };
}

function parseName(name: string): Command['kind'] {
  const command = COMMANDS.find((one) => one === name);
  if (command !== undefined) return command;
  throw new Error(`unknown command ${name}; did you mean ${nearest(name, COMMANDS)}? See tallycast --help`);
}

function parseSettings(args: readonly string[]): Record<string, string> {
  const settings: Record<string, string> = {};
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (!arg.startsWith('--')) throw new Error(`unexpected ${arg}: a setting is given as ${toFlag('PORT')} 4000`);
    const [flag, inlineValue] = splitAtEquals(arg);
    const variable = VARIABLE_BY_FLAG.get(flag);
    if (OTHER_FLAGS.includes(flag)) throw new Error(`${flag} takes no value`);
    if (variable === undefined) {
      const flags = [...VARIABLE_BY_FLAG.keys(), ...OTHER_FLAGS];
      throw new Error(`unknown flag ${flag}; did you mean ${nearest(flag, flags)}? See tallycast --help`);
    }
    if (variable in settings) throw new Error(`${flag} is given twice`);
    const next = args[i + 1];
    const follows = inlineValue === undefined && next !== undefined && !next.startsWith('--');
    const value = follows ? next : (inlineValue ?? (SWITCHES.has(variable) ? 'true' : ''));
    // In the environment an empty value means unset, but an empty flag is a mistake.
    if (value === '') throw new Error(`${flag} needs a value: ${flag} VALUE`);
    settings[variable] = value;
    if (follows) i += 1;
  }
  return settings;
}

function splitAtEquals(arg: string): [flag: string, value: string | undefined] {
  const at = arg.indexOf('=');
  return at < 0 ? [arg, undefined] : [arg.slice(0, at), arg.slice(at + 1)];
}

function nearest(text: string, candidates: readonly string[]): string {
  const lower = text.toLowerCase();
  return candidates.reduce((best, one) => (distance(lower, one) < distance(lower, best) ? one : best));
}
