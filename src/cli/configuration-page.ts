import { SETTING_GROUPS } from '../config/environment-schema.js';
import { SETTING_RULES } from '../config/settings-rules.js';
import { describeSetting } from './setting-text.js';

/** Renders docs/configuration.md. `npm run docs` writes it. */
export function configurationPage(): string {
  const groups = SETTING_GROUPS.flatMap(({ title, settings, notes }) => [
    `## ${title}`,
    '',
    '| setting | default | values | meaning |',
    '| --- | --- | --- | --- |',
    ...Object.keys(settings).map(tableRow),
    '',
    ...notes.map((note) => `- ${note}`),
    '',
  ]);
  return [
    '# Configuration',
    '',
    'A metric is what Tallycast counts; `/metrics` serves Prometheus.',
    '',
    '- Each setting is an environment variable (`PORT=4000`) and a flag (`--port 4000`). A flag overrides the variable.',
    '- Give secrets by the environment, because other users of the machine can see a command line.',
    '- An empty variable counts as unset.',
    '- The gateway checks all settings once, at boot. A wrong one ends the boot with one line, which names it.',
    '',
    'This page is generated: `npm run docs` writes it from `src/config/environment-schema.ts`.',
    '',
    ...groups,
    '## Settings that exclude or need each other',
    '',
    'Each of these ends the boot with its line:',
    '',
    ...SETTING_RULES.map(({ message }) => `- ${message}.`),
    '',
  ].join('\n');
}

function tableRow(variable: string): string {
  const { standard, values, description } = describeSetting(variable);
  return `| \`${variable}\` | ${standard === null ? 'unset' : `\`${standard}\``} | ${values} | ${description} |`;
}
