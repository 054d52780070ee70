import type { LiveCounts } from '../api.js';
import type { StorageMode } from '../environment.js';

/** Limit for operations made before `connectWidgets` to be acknowledged. */
const DRAIN_S = 60;

let client: LiveCounts | undefined;
let isOwn = false;
let create: () => LiveCounts;
const followers = new Set<() => void>();

/** @returns the gateway that serves this script as /client/tallycast.js, under whatever path; else the origin of the script */
export function findGateway(script: string): string {
  return new URL(/\/client\/tallycast\.js\b/.test(script) ? '..' : '/', script).href;
}

/** @returns the parameter `storage` of the script: a module cannot read attributes of its tag */
export function findStorage(script: string): StorageMode | undefined {
  return (new URL(script).searchParams.get('storage') ?? undefined) as StorageMode | undefined;
}

/** Sets how the page's client is made if a widget needs it before `connectWidgets` is called. */
export function setClientFactory(make: () => LiveCounts): void {
  create = make;
}

/**
 * Sets the client of all widgets of this page that have none of their own. It may be called before or after they are in
 * the page; a second call moves them. Without it the first widget creates a client of the gateway that served the script.
 */
export function connectWidgets(live: LiveCounts): void {
  if (live === client) return;
  const before = isOwn ? client : undefined;
  client = live;
  isOwn = false;
  for (const moved of [...followers]) moved();
  // Only the widgets had the old client: close it when its operations are acknowledged.
  if (before) closeWhenDone(before, DRAIN_S);
}

function closeWhenDone(left: LiveCounts, seconds: number): void {
  if (left.waiting === 0 || seconds === 0) left.close();
  else setTimeout(() => closeWhenDone(left, seconds - 1), 1_000);
}

export function pageClient(): LiveCounts {
  if (!client) {
    client = create();
    isOwn = true;
  }
  return client;
}

/**
 * Calls `moved` when the page's client is replaced.
 * @returns a function that ends the calls
 */
export function followPageClient(moved: () => void): () => void {
  followers.add(moved);
  return () => followers.delete(moved);
}
