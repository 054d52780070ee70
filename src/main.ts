import cluster from 'node:cluster';
import { readSettings } from './settings.js';

try {
  const settings = readSettings(process.env);
  if (settings.workers > 1 && cluster.isPrimary) {
    const { runWorkers } = await import('./workers/primary.js');
    await runWorkers(settings);
  } else {
    // The primary needs none of what a gateway is made of.
    const { boot } = await import('./boot.js');
    await boot(settings);
  }
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
