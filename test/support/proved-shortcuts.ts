import { proveShortcuts } from '../../src/gateway/prove-shortcuts.js';
import { Shortcuts } from '../../src/gateway/transport/shortcuts.js';

/** Shortcuts as a gateway has them after its boot. @throws Error when one of them does not hold on this Node */
export async function provedShortcuts(warn?: (message: string) => void): Promise<Shortcuts> {
  const failed: string[] = [];
  const shortcuts = new Shortcuts(warn ?? ((message) => failed.push(message)));
  await proveShortcuts(shortcuts);
  if (failed.length > 0) throw new Error(failed.join('\n'));
  return shortcuts;
}
