import { toFlag, VARIABLES } from './command-line.js';
import { describeSetting } from './setting-text.js';

/** The text of `tallycast --help`: each setting with its default and one line about it. */
export function helpText(): string {
  const rows = VARIABLES.map((variable) => {
    const { standard, description } = describeSetting(variable);
    return { flag: toFlag(variable), standard: standard ?? '-', description };
  });
  const flagWidth = Math.max(...rows.map(({ flag }) => flag.length)) + 2;
  const defaultWidth = Math.max(...rows.map(({ standard }) => standard.length)) + 2;
  const settings = rows.map(
    ({ flag, standard, description }) => `  ${flag.padEnd(flagWidth)}${standard.padEnd(defaultWidth)}${description}`,
  );
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
