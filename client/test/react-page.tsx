/** The page of test/browser/react.test.ts. */
import { createElement, StrictMode, useEffect, useState } from 'react';
import { createRoot, hydrateRoot, type Root } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { createLiveCounts } from 'tallycast-client';
import { connectWidgets } from 'tallycast-client/widgets';
import { LiveCountsProvider, useChoice, useLiveCounts, useView } from 'tallycast-client/react';
import type { ReactPageControls } from './react-page-controls.js';

const live = createLiveCounts(new URLSearchParams(location.search).get('gateway')!);
connectWidgets(live);
const container = document.getElementById('root')!;

const rendered: string[] = [];
const functions = new Map<string, Set<unknown>>();

function Row({ post }: { post: string }) {
  const { counts, liked, ...rest } = useLiveCounts(post);
  const seen = functions.get(post) ?? new Set();
  functions.set(post, seen);
  for (const value of Object.values(rest)) if (typeof value === 'function') seen.add(value);
  rendered.push(`${post}:${counts?.likes}`);
  return (
    <li data-post={post} data-likes={counts?.likes} data-views={counts?.views} data-live={counts?.live}>
      <button aria-pressed={liked} onClick={() => void rest.toggle()}>
        {counts?.likes ?? 'unknown'}
      </button>
    </li>
  );
}

function Viewed({ post }: { post: string }) {
  useView(post);
  return <Row post={post} />;
}

function ViewedBelow({ post }: { post: string }) {
  const ref = useView(post);
  return (
    <>
      <Row post={post} />
      <li style={{ height: 3000 }} />
      <li ref={ref} id={post}>
        end
      </li>
    </>
  );
}

function Poll({ post }: { post: string }) {
  const { options, chosen, choose } = useChoice(post, 'vote');
  const buttons = options.map(({ option, count, isChosen }) => (
    <button key={option} aria-pressed={isChosen} onClick={() => void choose(option, !isChosen)}>
      {option} {count}
    </button>
  ));
  return <li data-chosen={chosen}>{buttons}</li>;
}

function Tagged({ post }: { post: string }) {
  return <li>{createElement('live-count', { post }, 'about 7')}</li>;
}

/** By the beginning of the post's id. */
const COMPONENTS: Record<string, typeof Row | undefined> = {
  viewed: Viewed,
  below: ViewedBelow,
  poll: Poll,
  tagged: Tagged,
};

let mounts = 0;
let setPosts: (posts: readonly string[]) => void;

function Page({ initial }: { initial: readonly string[] }) {
  const [posts, set] = useState(initial);
  setPosts = set;
  useEffect(() => {
    mounts++;
  }, []);
  // Keyed by index, not by post, because the test gives a mounted component another post.
  return posts.map((post, index) => {
    const Item = COMPONENTS[post.split('-')[0]!] ?? Row;
    return <Item key={index} post={post} />;
  });
}

/** StrictMode is outermost, because it mounts twice only what is below it. */
function application(posts: readonly string[]) {
  return (
    <StrictMode>
      <LiveCountsProvider live={live}>
        <Page initial={posts} />
      </LiveCountsProvider>
    </StrictMode>
  );
}

const mismatches: string[] = [];
let root: Root;

const page: ReactPageControls = {
  rendered,
  mismatches,
  mount(posts) {
    root = createRoot(container);
    root.render(application(posts));
  },
  renderOnServer(posts) {
    container.innerHTML = renderToString(application(posts));
  },
  hydrate(posts) {
    const onRecoverableError = (error: unknown) => mismatches.push(String(error));
    root = hydrateRoot(container, application(posts), { onRecoverableError });
  },
  show: (posts) => setPosts(posts),
  unmount: () => root.unmount(),
  watched: () => live.watched,
  mounts: () => mounts,
  functions: (post) => functions.get(post)?.size ?? 0,
};

Object.assign(window, { page });
