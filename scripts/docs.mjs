// Writes docs/configuration.md from the settings' schema. npm run docs.
import { writeFileSync } from 'node:fs';
import { configurationPage } from '../build/cli/configuration-page.js';

writeFileSync('docs/configuration.md', configurationPage());
