'use client';
import {
  createContext,
  createElement,
  type ReactNode,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useSyncExternalStore,
} from 'react';
import type { LiveCounts, Post } from './client.js';
import type { LiveCountsError } from './errors.js';
import type { Change, Counts } from './post-counts.js';

const PageClient = createContext<LiveCounts | undefined>(undefined);

/** Says which client the hooks below it use. A page needs one; make it outside of components. */
export function LiveCountsProvider({ live, children }: { live: LiveCounts; children?: ReactNode }): ReactNode {
  return createElement(PageClient.Provider, { value: live }, children);
}

/** See `Post`. These stay the same functions from render to render, for as long as the post and the client do. */
interface Actions {
  readonly like: () => Promise<void>;
  readonly unlike: () => Promise<void>;
  /** Likes, or takes the like back. */
  readonly toggle: () => Promise<void>;
  readonly view: () => Promise<void>;
  readonly add: (metric: string, by?: number) => Promise<void>;
  readonly set: (metric: string, on: boolean) => Promise<void>;
}

export interface LivePost extends Actions {
  /** Undefined until they are known, and on a server. */
  readonly counts: Counts | undefined;
  /** The toggles that are on for this actor; empty until they are known. */
  readonly mine: readonly string[];
  /** Whether this actor likes it. */
  readonly liked: boolean;
  /** Set when the gateway denied the counts. */
  readonly error: LiveCountsError | undefined;
}

interface State {
  readonly change?: Change;
  readonly error?: LiveCountsError;
}

interface Store {
  readonly subscribe: (changed: () => void) => () => void;
  readonly state: () => State;
  readonly actions: Actions;
}

const UNKNOWN: State = {};
const NONE: readonly string[] = [];

/**
 * The counts of a post, live for as long as the component is mounted, and what can be done to it. It renders again when
 * something of this post has changed, and for nothing else.
 * @param live instead of the provider's client.
 * @throws Error without a client; LiveCountsError BAD_REQUEST for what is no id of a post.
 */
export function useLiveCounts(postId: string, live?: LiveCounts): LivePost {
  const client = useClient(live);
  const { subscribe, state, actions } = useMemo(() => storeOf(client.post(postId)), [client, postId]);
  const { change, error } = useSyncExternalStore(subscribe, state, onServer);
  const mine = change?.mine ?? NONE;
  return { counts: change?.counts, mine, liked: mine.includes('likes'), error, ...actions };
}

/**
 * Counts a view of the post when the component is mounted, once also in StrictMode, which mounts everything twice.
 * A refusal is not told: nobody waits for it.
 */
export function useView(postId: string, live?: LiveCounts): void {
  const client = useClient(live);
  const counted = useRef<string>(undefined);
  useEffect(() => {
    if (counted.current === postId) return;
    counted.current = postId;
    client
      .post(postId)
      .view()
      .catch(() => undefined);
  }, [client, postId]);
}

function useClient(live: LiveCounts | undefined): LiveCounts {
  const client = useContext(PageClient);
  const chosen = live ?? client;
  if (!chosen) throw new Error('no client: wrap the page in <LiveCountsProvider live={…}>, or pass one to the hook');
  return chosen;
}

/** What React's server rendering and the first render in the browser have to agree on. */
function onServer(): State {
  return UNKNOWN;
}

function storeOf(post: Post): Store {
  let latest = UNKNOWN;
  const isLiked = (): boolean => latest.change?.mine.includes('likes') ?? false;
  return {
    subscribe: (changed) => {
      const set = (state: State): void => {
        latest = state;
        changed();
      };
      try {
        return post.subscribe(
          (change) => set({ change }),
          (error) => set({ ...latest, error }),
        );
      } catch (error) {
        // The client was closed: no reason to take the page down.
        set({ ...latest, error: error as LiveCountsError });
        return () => undefined;
      }
    },
    state: () => latest,
    actions: {
      like: () => post.like(),
      unlike: () => post.unlike(),
      toggle: () => (isLiked() ? post.unlike() : post.like()),
      view: () => post.view(),
      add: (metric, by) => post.add(metric, by),
      set: (metric, on) => post.set(metric, on),
    },
  };
}
