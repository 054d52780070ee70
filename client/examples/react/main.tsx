import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { createLiveCounts } from 'tallycast-client';
import { LiveCountsProvider, useLiveCounts, useView } from 'tallycast-client/react';

/** One for the page: all its posts share a connection. */
const live = createLiveCounts('http://127.0.0.1:3000');

function LikeButton({ post }: { post: string }) {
  const { counts, liked, toggle } = useLiveCounts(post);
  const refused = (error: unknown) => console.warn('not counted:', error);
  return (
    <button aria-pressed={liked} onClick={() => void toggle().catch(refused)}>
      {liked ? 'Liked' : 'Like'} {counts?.likes ?? '…'}
    </button>
  );
}

function Article({ post }: { post: string }) {
  const { counts } = useLiveCounts(post);
  useView(post);
  return (
    <article>
      <h1>An article</h1>
      <p>
        Read {counts?.views ?? '…'} times, {counts?.live ?? '…'} reading now.
      </p>
      <LikeButton post={post} />
    </article>
  );
}

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <LiveCountsProvider live={live}>
      <Article post="react" />
    </LiveCountsProvider>
  </StrictMode>,
);
