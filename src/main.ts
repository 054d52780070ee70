import { readSettings } from './settings.js';

try {
  const { boot } = await import('./boot.js');
  await boot(readSettings(process.env));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
