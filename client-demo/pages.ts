import type { Plugin } from 'vite';
import { type Story, STORIES, WALL_STORIES } from './src/stories.js';

/** Below the first page. */
const LINKS = [
  ['feed/', 'Feed'],
  ['wall/', 'Wall'],
  ['cable/', 'Cable'],
  ['regions/', 'Regions'],
  ['raffle/', 'Raffle'],
  ['docs/', 'API'],
] as const;
/** The first page, from a page in a folder. Links are relative, because the gateway may be under any path. */
const FIRST_PAGE = '../';

/** The box of src/simulated-readers.ts. */
const READERS = `<label class="readers">
      <input type="checkbox" checked autocomplete="off" data-testid="readers" />
      12 simulated readers
    </label>`;

/** It hangs from one phone to the other. */
const CABLE = `<div class="cord">
      <svg class="wire" viewBox="0 0 100 40" preserveAspectRatio="none" aria-hidden="true">
        <path class="still" d="M25 0 C25 26 36 32 50 32" /><path class="loose" d="M50 32 C64 32 75 26 75 0" />
      </svg>
      <button type="button" class="plain" data-testid="pull-bob"><span class="label">Unplug Bob</span></button>
    </div>`;

const REGIONS = ['eu', 'us', 'ap'];
/** Views of each region and of all together in a run of `npm run drill` on 2 cores. */
const RECORDED = [
  { moment: 'all connected', views: [103, 103, 103], all: 103 },
  { moment: 'eu cut off', views: [150, 157, 158], all: 206 },
  { moment: 'connected again, after 0.81 s', views: [206, 206, 206], all: 206 },
  { moment: 'each alone', views: [381, 366, 353], all: 440 },
  { moment: 'connected again, after 0.77 s', views: [447, 447, 447], all: 447 },
] as const;
/** Each cable hangs above its two regions; the one between the outer regions hangs higher. */
const CABLES = [
  ['eu', 'us', 'M115 100 C115 55 285 55 285 100'],
  ['us', 'ap', 'M315 100 C315 55 485 55 485 100'],
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
        .replace('<!-- readers -->', READERS)
        .replace('<!-- phones -->', () => [phone('Ann'), CABLE, phone('Bob')].join('\n'))
        .replace('<!-- sides -->', () => ['Ann', 'Bob'].map(side).join('\n'))
        .replace('<!-- recorded -->', () => RECORDED.map(recordedRow).join('\n'))
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

/** `live-viewers` would make the reader of the feed a viewer of all posts. */
function feedItem({ id, title, section, minutes }: Story): string {
  return `<li data-post="${id}">
      <p class="kicker">${section} · ${minutes} min</p>
      <h2><a href="../article/?post=${id}">${title}</a></h2>
      <p class="counts">
        <live-like post="${id}" notation="standard"></live-like>
        <live-count post="${id}" metric="views" notation="standard" one="view" other="views"></live-count>
        <live-count post="${id}" metric="live" notation="standard" one="reader" other="readers"></live-count>
      </p>
    </li>`;
}

function wallRow({ id, title }: Story): string {
  return `<tr data-post="${id}">
      <th scope="row"><a href="../article/?post=${id}">${title}</a></th>
      <td><live-count post="${id}" metric="likes" notation="standard"></live-count></td>
      <td><live-count post="${id}" metric="views" notation="standard"></live-count></td>
      <td><live-count post="${id}" metric="live" notation="standard"></live-count></td>
    </tr>`;
}

/** The cable hangs from the gateway in the middle above both sides; Bob's mirrors Ann's. */
function side(name: string): string {
  const who = name.toLowerCase();
  return `<section class="side" id="${who}" aria-labelledby="${who}-name">
        <button type="button" class="pull" data-testid="pull-${who}">
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
            <live-count metric="likes" notation="standard" data-testid="likes-${who}" one="like" other="likes"></live-count>
            <live-count metric="views" notation="standard" data-testid="views-${who}" one="view" other="views"></live-count>
          </p>
          <div class="actions">
            <live-like notation="standard" data-testid="like-${who}"></live-like>
            <button type="button" class="plain" data-testid="view-${who}">Add a view</button>
          </div>
          <p class="waiting" data-testid="waiting-${who}" data-value="0"></p>
        </div>
      </section>`;
}

function phone(name: string): string {
  const who = name.toLowerCase();
  return `<section class="phone" id="${who}" aria-labelledby="${who}-name">
        <div class="heading">
          <h3 id="${who}-name">${name}</h3>
          <p class="state" data-testid="state-${who}" data-state="syncing">connecting</p>
        </div>
        <live-count metric="likes" notation="standard" data-testid="likes-${who}"></live-count>
        <live-like notation="standard" data-testid="like-${who}"></live-like>
        <p class="waiting" data-testid="waiting-${who}" data-value="0"></p>
      </section>`;
}

function cable([one, other, path]: (typeof CABLES)[number]): string {
  return `<svg class="wire" viewBox="0 0 600 100" preserveAspectRatio="none" aria-hidden="true"><path d="${path}" /></svg>
      <button type="button" class="cable" id="${one}-${other}" aria-pressed="false" aria-label="Pull the cable ${one} – ${other}"
        data-one="${one}" data-other="${other}" data-testid="cable-${one}-${other}">
        ${one} <span class="in">–</span><span class="out">×</span> ${other}
      </button>`;
}

function recordedRow({ moment, views, all }: (typeof RECORDED)[number]): string {
  const most = RECORDED.at(-1)!.all;
  const bar = (count: number): string => `<rect width="${(100 * count) / most}" height="6" rx="1" />`;
  const cells = views.map(
    (count) =>
      `<td>${count}<svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">${bar(all)}${bar(count)}</svg></td>`,
  );
  return `<tr><th scope="row">${moment}</th>${cells.join('')}</tr>`;
}

function region(name: string): string {
  return `<section class="pane card" id="${name}" aria-labelledby="${name}-name" data-testid="pane-${name}">
        <div class="heading">
          <h2 id="${name}-name">${name}</h2>
          <p class="state" data-testid="state-${name}" data-state="syncing">connecting</p>
        </div>
        <p class="figures">
          <live-count metric="likes" notation="standard" data-testid="likes-${name}" one="like" other="likes"></live-count>
          <live-count metric="views" notation="standard" data-testid="views-${name}" one="view" other="views"></live-count>
        </p>
        <div class="actions">
          <live-like notation="standard" data-testid="like-${name}"></live-like>
          <button type="button" class="plain" data-testid="view-${name}">Add a view</button>
        </div>
      </section>`;
}
