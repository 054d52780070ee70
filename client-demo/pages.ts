import type { Plugin } from 'vite';
import { type Story, STORIES, WALL_STORIES } from './src/stories.js';

/** Below the first page. */
const LINKS = [
  ['', 'Article'],
  ['feed/', 'Feed'],
  ['wall/', 'Wall'],
  ['cable/', 'Cable'],
  ['regions/', 'Regions'],
] as const;
/** The first page, from a page in a folder. Links are relative, because the gateway may be under any path. */
const FIRST_PAGE = '../';

const REGIONS = ['eu', 'us', 'ap'];
/** Each cable hangs above its two regions; the one between the outer regions hangs higher. */
const CABLES = [
  ['eu', 'us', 'M115 100 C115 30 285 30 285 100'],
  ['us', 'ap', 'M315 100 C315 30 485 30 485 100'],
  ['eu', 'ap', 'M85 100 C85 -20 515 -20 515 100'],
] as const;

/** Writes the common header and the lists of stories into the HTML, as a server would. */
export const pages: Plugin = {
  name: 'pages',
  transformIndexHtml: {
    order: 'pre',
    handler: (html, { path }) =>
      html
        .replace('<!-- header -->', header(path.replace(/^\/|index\.html$/g, '')))
        .replace('<!-- feed -->', () => STORIES.map(feedItem).join('\n'))
        .replace('<!-- wall -->', () => WALL_STORIES.map(wallRow).join('\n'))
        .replace('<!-- sides -->', () => ['Ann', 'Bob'].map(side).join('\n'))
        .replace('<!-- regions -->', () => [CABLES.map(cable).join('\n'), REGIONS.map(region).join('\n')].join('\n')),
  },
};

function header(current: string): string {
  const first = current === '' ? './' : FIRST_PAGE;
  const links = LINKS.map(
    ([path, name]) => `<a href="${first}${path}"${path === current ? ' aria-current="page"' : ''}>${name}</a>`,
  );
  return `<a class="skip" href="#content">Skip to the content</a>
    <header class="site">
      <a class="brand" href="${first}"><img src="/src/icon.svg" alt="" width="28" height="28" />Tallycast</a>
      <p class="state" role="status" data-testid="state" data-state="syncing">connecting</p>
      <nav aria-label="Pages">${links.join('')}</nav>
    </header>`;
}

function feedItem({ id, title, section, minutes }: Story): string {
  return `<li data-post="${id}">
      <p class="kicker">${section} · ${minutes} min</p>
      <h2><a href="${FIRST_PAGE}?post=${id}">${title}</a></h2>
      <p class="counts">
        <live-like post="${id}"></live-like>
        <span><live-count post="${id}" metric="views"></live-count> views</span>
        <live-viewers post="${id}"></live-viewers>
      </p>
    </li>`;
}

function wallRow({ id, title }: Story): string {
  return `<tr data-post="${id}">
      <th scope="row"><a href="${FIRST_PAGE}?post=${id}">${title}</a></th>
      <td><live-count post="${id}" metric="likes"></live-count></td>
      <td><live-count post="${id}" metric="views"></live-count></td>
      <td><live-count post="${id}" metric="live"></live-count></td>
    </tr>`;
}

/** The cable hangs from the gateway in the middle above both sides; Bob's mirrors Ann's. */
function side(name: string): string {
  const who = name.toLowerCase();
  return `<section class="side" id="${who}" aria-labelledby="${who}-name">
        <button type="button" class="pull" aria-pressed="false" data-testid="pull-${who}">
          <svg class="wire" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">
            <path d="M104 -20 C104 60 50 20 50 100" />
          </svg>
          <svg class="plug" viewBox="0 0 40 44" aria-hidden="true">
            <path d="M20 0v8M8 8h24v14a8 8 0 0 1-8 8h-8a8 8 0 0 1-8-8zM14 30v12M26 30v12" />
          </svg>
          <span class="label">Unplug ${name}</span>
        </button>
        <div class="pane card" data-testid="pane-${who}">
          <div class="heading">
            <h2 id="${who}-name">${name}</h2>
            <p class="state" data-testid="state-${who}" data-state="syncing">connecting</p>
          </div>
          <p class="figures">
            <span><live-count metric="likes" data-testid="likes-${who}"></live-count> likes</span>
            <span><live-count metric="views" data-testid="views-${who}"></live-count> views</span>
          </p>
          <div class="actions">
            <live-like data-testid="like-${who}"></live-like>
            <button type="button" class="plain" data-testid="view-${who}">Add a view</button>
          </div>
          <p class="waiting" data-testid="waiting-${who}" data-value="0">nothing waits</p>
        </div>
      </section>`;
}

function cable([one, other, path]: (typeof CABLES)[number]): string {
  return `<svg class="wire" viewBox="0 0 600 100" preserveAspectRatio="none" aria-hidden="true"><path d="${path}" /></svg>
      <button type="button" class="cable" id="${one}-${other}" aria-pressed="false" aria-label="Pull the cable ${one} – ${other}"
        data-one="${one}" data-other="${other}" data-testid="cable-${one}-${other}">
        ${one} <span class="in">–</span><span class="out">×</span> ${other}
      </button>`;
}

function region(name: string): string {
  return `<section class="pane card" id="${name}" aria-labelledby="${name}-name" data-testid="pane-${name}">
        <div class="heading">
          <h2 id="${name}-name">${name}</h2>
          <p class="state" data-testid="state-${name}" data-state="syncing">connecting</p>
        </div>
        <p class="figures">
          <span><live-count metric="likes" data-testid="likes-${name}"></live-count> likes</span>
          <span><live-count metric="views" data-testid="views-${name}"></live-count> views</span>
        </p>
        <div class="actions">
          <live-like data-testid="like-${name}"></live-like>
          <button type="button" class="plain" data-testid="view-${name}">Add a view</button>
        </div>
      </section>`;
}
