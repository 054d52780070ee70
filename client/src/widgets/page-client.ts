import type { LiveCounts } from '../client.js';

/** How long what was done before `connectWidgets` may take to be acknowledged. */
const DONE_S = 60;

let client: LiveCounts | undefined;
let isOwn = false;
let create: () => LiveCounts;
const followers = new Set<() => void>();

/** How to make the page's client, should nobody have said which one it is when the first widget needs it. */
export function setClientFactory(make: () => LiveCounts): void {
  create = make;
}

/**
 * Says which client the widgets of this page use, those that have none of their own. Call it before or after they are in
 * the page; called again, it moves them. Without it the first one makes a client of the gateway that served this script.
 */
export function connectWidgets(live: LiveCounts): void {
  if (live === client) return;
  const before = isOwn ? client : undefined;
  client = live;
  isOwn = false;
  for (const moved of [...followers]) moved();
  // Nobody else has it; what was done with it is to be counted all the same.
  if (before) closeWhenDone(before, DONE_S);
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

/** Calls `moved` when the page's client is another one; gives back the way to stop. */
export function followPageClient(moved: () => void): () => void {
  followers.add(moved);
  return () => followers.delete(moved);
}
