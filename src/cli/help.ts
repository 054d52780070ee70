import { describeOperands, REMOTE_COMMANDS, toFlag, VARIABLES } from './command-line.js';
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
  const calls = REMOTE_COMMANDS.map(({ name, operands, summary }) => {
    return { call: `${name} ${describeOperands(operands)}`.trimEnd(), summary };
  });
  const callWidth = Math.max(...calls.map(({ call }) => call.length)) + 2;
  const commands = calls.map(({ call, summary }) => `  ${call.padEnd(callWidth)}${summary}`);
  return [
    'Usage: tallycast [start] [--setting value …]',
    '       tallycast sink schema [--setting value …]',
    '       tallycast restore [--setting value …]',
    '       tallycast COMMAND [--url URL]',
    '       tallycast --help | --version',
    '',
    'Runs a live counter gateway with its demo, in the foreground; SIGTERM and Ctrl+C drain and end it.',
    'Each setting is read from the environment, too (PORT=4000); a flag overrides it.',
    'Give secrets by the environment, because other users of the machine can see a command line.',
    '',
    'Commands for a running gateway: --url or TALLYCAST_URL names it (http://127.0.0.1:3000), and the environment has its ADMIN_TOKEN.',
    ...commands,
    '',
    '`sink schema` prints the tables of a PostgreSQL sink for these settings, and needs no gateway.',
    '`restore` fills the empty store of REDIS_URL or DATA_DIR from the PostgreSQL sink in SINK_URL, while no gateway runs.',
    '',
    'Settings, with their defaults:',
    ...settings,
    '',
  ].join('\n');
}
