import { z } from 'zod';
import { ENVIRONMENT } from '../config/environment-schema.js';
import { toFlag, VARIABLES } from './command-line.js';

/** The text of `tallycast --help`: each setting with its default and one line about it. */
export function helpText(): string {
  const rows = VARIABLES.map((variable) => [toFlag(variable), defaultOf(variable)] as const);
  const flagWidth = Math.max(...rows.map(([flag]) => flag.length)) + 2;
  const defaultWidth = Math.max(...rows.map(([, standard]) => standard.length)) + 2;
  const settings = VARIABLES.map((variable, i) => {
    const [flag, standard] = rows[i]!;
    return `  ${flag.padEnd(flagWidth)}${standard.padEnd(defaultWidth)}${shapeOf(variable).description ?? ''}`;
  });
  return [
    'Usage: tallycast [start] [--setting value …]',
    '       tallycast --help | --version',
    '',
    'Runs a live counter gateway with its demo, in the foreground; SIGTERM and Ctrl+C drain and end it.',
    'Each setting is read from the environment, too (PORT=4000); a flag overrides it.',
    'Give secrets by the environment, because other users of the machine can see a command line.',
    '',
    'Settings, with their defaults:',
    ...settings,
    '',
  ].join('\n');
}

/** `-` where the setting is unset. */
function defaultOf(variable: string): string {
  const schema = shapeOf(variable);
  const standard = schema instanceof z.ZodPrefault ? String(schema.def.defaultValue) : '';
  return standard === '' ? '-' : standard;
}

function shapeOf(variable: string): z.ZodType {
  return ENVIRONMENT.shape[variable as keyof typeof ENVIRONMENT.shape];
}
