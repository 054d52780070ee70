import { proveShortcuts } from '../../src/gateway/proofs/prove-shortcuts.js';
import { Shortcuts } from '../../src/gateway/transport/shortcuts.js';

/** Shortcuts as after a gateway's boot. @throws Error if one of them does not work on this Node.js */
export async function provedShortcuts(warn?: (message: string) => void): Promise<Shortcuts> {
  const failed: string[] = [];
  const shortcuts = new Shortcuts(warn ?? ((message) => failed.push(message)));
  await proveShortcuts(shortcuts);
  if (failed.length > 0) throw new Error(failed.join('\n'));
  return shortcuts;
}
