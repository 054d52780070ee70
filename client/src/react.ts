'use client';
import {
  createContext,
  createElement,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useSyncExternalStore,
} from 'react';
import type { LiveCounts, Post } from './api.js';
import type { LiveCountsError } from './errors.js';
import { countOnce, isHalfVisible, THRESHOLDS, timeView } from './page-view.js';
import type { Change, Counts } from './post-counts.js';

const PageClient = createContext<LiveCounts | undefined>(undefined);

/** Sets the client of the hooks below it. Create one for the page, outside of components. */
export function LiveCountsProvider({ live, children }: { live: LiveCounts; children?: ReactNode }): ReactNode {
  return createElement(PageClient.Provider, { value: live }, children);
}

/** See `Post`. The functions stay the same from render to render while the post and the client do. */
interface Actions {
  readonly like: () => Promise<void>;
  readonly unlike: () => Promise<void>;
  /** Likes the post, or takes the like back. */
  readonly toggle: () => Promise<void>;
  readonly view: () => Promise<void>;
  readonly add: (metric: string, by?: number) => Promise<void>;
  readonly set: (metric: string, on: boolean) => Promise<void>;
  readonly choose: (option: string, on?: boolean) => Promise<void>;
}

export interface LivePost extends Actions {
  /** Undefined until the first counts arrive, and on a server. */
  readonly counts: Counts | undefined;
  /** The toggles that are on for this actor; empty until the first counts arrive. */
  readonly mine: readonly string[];
  /** Whether this actor likes it. */
  readonly liked: boolean;
  /** Set if the gateway rejected the subscription. */
  readonly error: LiveCountsError | undefined;
}

interface Option {
  readonly option: string;
  readonly count: number;
  readonly isChosen: boolean;
}

export interface LiveChoice {
  /** In the order of the gateway's settings; empty until the first counts arrive, and on a server. */
  readonly options: readonly Option[];
  /** This actor's choice. */
  readonly chosen: string | undefined;
  /** Makes a choice, or with `false` takes it back; the same function from render to render. */
  readonly choose: Actions['choose'];
  /** Set if the gateway rejected the subscription. */
  readonly error: LiveCountsError | undefined;
}

interface Viewing {
  /** Undefined until the `ref` has an element; null once the element is removed. */
  element: Element | null | undefined;
  restart: () => void;
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
 * The counts of a post, live while the component is mounted, and its operations. The component renders again only when
 * this post has changed.
 * @param live replaces the provider's client
 * @param options with `present: false` the page is no viewer of the post
 * @throws Error without a client; LiveCountsError BAD_REQUEST if `postId` is not a valid id
 */
export function useLiveCounts(postId: string, live?: LiveCounts, options?: { readonly present?: boolean }): LivePost {
  const client = useClient(live);
  const present = options?.present;
  const store = useMemo(() => createStore(client.post(postId), present), [client, postId, present]);
  const { subscribe, state, actions } = store;
  const { change, error } = useSyncExternalStore(subscribe, state, onServer);
  const mine = change?.mine ?? NONE;
  return { counts: change?.counts, mine, liked: mine.includes('likes'), error, ...actions };
}

/**
 * The options of a group of choices of a post, live while the component is mounted. Shares its subscription with
 * `useLiveCounts`.
 */
export function useChoice(postId: string, group: string, live?: LiveCounts): LiveChoice {
  const client = useClient(live);
  const { counts, mine, choose, error } = useLiveCounts(postId, client);
  const names = counts ? client.options(group) : NONE;
  const options = names.map((option) => ({ option, count: counts?.[option] ?? 0, isChosen: mine.includes(option) }));
  return { options, chosen: names.find((option) => mine.includes(option)), choose, error };
}

/**
 * Counts a view of the post once a page view, when the visitor has seen the element with the returned `ref` for a second;
 * without such an element, the page. Errors are dropped, because no caller waits for them.
 */
export function useView(postId: string, live?: LiveCounts): (element: Element | null) => void {
  const client = useClient(live);
  const viewing = useRef<Viewing>({ element: undefined, restart: () => undefined }).current;
  useEffect(() => {
    const post = client.post(postId);
    const count = (): void => void countOnce(client, post, 'views').catch(() => undefined);
    const update = timeView(count);
    const stop = (): void => {
      observer?.disconnect();
      update(false);
    };
    // A DOM that lays nothing out, such as jsdom, has no observers.

    const observe = (entries: IntersectionObserverEntry[]): void => update(isHalfVisible(entries.at(-1)!));
    const observer =
      typeof IntersectionObserver === 'undefined'
        ? undefined
        : new IntersectionObserver(observe, { threshold: THRESHOLDS });
    viewing.restart = () => {
      const { element } = viewing;
      stop();
      update(element === undefined || (element !== null && !observer));
      if (element) observer?.observe(element);
    };
    viewing.restart();
    return () => {
      viewing.restart = () => undefined;
      stop();
    };
  }, [client, postId, viewing]);
  return useCallback(
    (element) => {
      viewing.element = element;
      viewing.restart();
    },
    [viewing],
  );
}

function useClient(live: LiveCounts | undefined): LiveCounts {
  const client = useContext(PageClient);
  const chosen = live ?? client;
  if (!chosen) throw new Error('no client: wrap the page in <LiveCountsProvider live={…}>, or pass one to the hook');
  return chosen;
}

/** React requires the same state from server rendering and from the first render in the browser. */
function onServer(): State {
  return UNKNOWN;
}

function createStore(post: Post, present: boolean | undefined): Store {
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
          { present },
        );
      } catch (error) {
        // The client was closed; an exception here would unmount the page.
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
      choose: (option, on) => post.choose(option, on),
    },
  };
}
