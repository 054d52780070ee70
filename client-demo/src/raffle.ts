import './raffle.css';
import type { MilestoneList, MilestoneReached } from 'tallycast-client/widgets';
import { connectPage, find, gatewayUrl, setText } from './page.js';
import { RaffleCrowd, type Visit } from './raffle-crowd.js';

const AT = 100;
/** Rows before and after the winner's. */
const AROUND = 3;
const RETRY_MS = 1_100;

const live = connectPage();
const rows = find('[data-testid=rows]');
const outcome = find('[data-testid=winner]');
const crowdButton = find('[data-testid=crowd]') as HTMLButtonElement;
let raffle = new AbortController();
let crowd: RaffleCrowd;
let post: string;
let winner: Visit | undefined;

crowdButton.addEventListener('click', () => void letCrowdIn());
find('[data-testid=view]').addEventListener(
  'click',
  () =>
    void live
      .post(post)
      .view()
      .catch(() => undefined),
);
find('[data-testid=again]').addEventListener('click', () => void startNew());
find('live-milestone').addEventListener('tallycast-milestone', ({ detail }) => void showOutcome(detail));

const given = new URL(location.href).searchParams.get('post');
if (given !== null && /^raffle-[0-9a-f]{16}$/.test(given)) {
  show(given);
  void showIfDropped(given);
} else void startNew();

/** The gateway arms the milestone of a new post: the page has no token for that. It starts one a second. */
async function startNew(): Promise<void> {
  const response = await fetch(`${gatewayUrl()}/demo/raffle`, { method: 'POST' }).catch(() => undefined);
  if (response?.status === 429 || response === undefined) {
    setTimeout(() => void startNew(), RETRY_MS);
    return;
  }
  const { post: started, message } = (await response.json()) as { post?: string; message?: string };
  if (started === undefined) return setText(outcome, `The gateway has no raffle: ${message ?? response.status}`);
  const url = new URL(location.href);
  url.searchParams.set('post', started);
  history.replaceState(null, '', url);
  show(started);
}

function show(id: string): void {
  raffle.abort();
  raffle = new AbortController();
  post = id;
  winner = undefined;
  crowd = new RaffleCrowd(id, () => void refresh(), raffle.signal);
  for (const element of document.querySelectorAll('main live-count, main live-milestone')) {
    element.setAttribute('at', String(AT));
    element.setAttribute('post', id);
  }
  rows.replaceChildren();
  delete outcome.dataset['actor'];
  setText(outcome, 'Nobody has won yet.');
  setText(find('[data-testid=record]'), 'nothing yet');
  crowdButton.disabled = false;
}

async function letCrowdIn(): Promise<void> {
  const id = post;
  await crowd.run();
  await showIfDropped(id);
}

/** The gateway keeps some raffles at a time only, and drops the oldest. */
async function showIfDropped(id: string): Promise<void> {
  const list = await readMilestones(id);
  if (id !== post || list === undefined || list.armed.includes(AT) || list.reached.length > 0) return;
  crowd.end();
  crowdButton.disabled = true;
  setText(outcome, 'Later raffles have taken the place of this one, so nobody wins it. Run again for a new one.');
}

async function refresh(): Promise<void> {
  const reached = crowd.visits.find((visit) => visit.reached);
  winner ??= reached;
  await showRows();
}

/** Shows the visits around the winner's, or the last ones, in the order of their totals. */
async function showRows(): Promise<void> {
  const id = post;
  const visits = crowd.visits.toSorted((a, b) => a.total - b.total || Number(b.reached) - Number(a.reached));
  const at = winner ? visits.indexOf(winner) : visits.findLastIndex(({ total }) => total <= AT);
  const shown = visits.slice(Math.max(0, at - AROUND), at + AROUND + 1);
  // Before there is a winner nobody has won, so no request is needed.
  const candidates = outcome.dataset['actor'] === undefined ? [] : shown;
  const marks = await Promise.all(candidates.map(({ actor }) => hasWon(id, actor)));
  if (id !== post) return;
  rows.replaceChildren(...shown.map((visit, i) => makeRow(visit, marks[i])));
}

async function hasWon(id: string, actor: string): Promise<boolean | undefined> {
  return (await readMilestones(id, actor))?.reached.some(({ n, mine }) => n === AT && mine === true);
}

async function readMilestones(id: string, actor?: string): Promise<MilestoneList | undefined> {
  try {
    const headers = actor === undefined ? {} : { 'Actor-Id': actor };
    const response = await fetch(`${gatewayUrl()}/v1/${id}/views/milestones`, { headers });
    return response.ok ? ((await response.json()) as MilestoneList) : undefined;
  } catch {
    return undefined;
  }
}

function makeRow({ actor, total }: Visit, won: boolean | undefined): HTMLElement {
  const row = document.createElement('tr');
  row.dataset['actor'] = actor;
  row.toggleAttribute('data-won', won === true);
  for (const text of [actor, String(total), won === undefined ? '' : won ? 'yes' : 'no']) {
    const cell = document.createElement('td');
    cell.textContent = text;
    row.append(cell);
  }
  return row;
}

/** The milestone is reached, by this page's visitor, by its crowd or in another window; called again when that is final. */
async function showOutcome({ post: id, mine }: MilestoneReached): Promise<void> {
  crowd.end();
  crowdButton.disabled = true;
  const list = await readMilestones(id, winner?.actor);
  if (id !== post) return;
  const record = list?.reached.find(({ n }) => n === AT);
  if (record) setText(find('[data-testid=record]'), JSON.stringify({ post: id, metric: 'views', ...record }));
  // The answer to the winner's view may arrive after the event.
  if (!mine && winner === undefined && crowd.visits.length > 0) {
    setTimeout(() => void nameWinner(id, mine), RETRY_MS);
    return;
  }
  await nameWinner(id, mine);
}

async function nameWinner(id: string, mine: boolean): Promise<void> {
  if (id !== post) return;
  const actor = mine ? 'you' : (winner?.actor ?? 'elsewhere');
  outcome.dataset['actor'] = actor;
  const elsewhere = 'A visitor of another window was the hundredth.';
  const stranger = actor === 'elsewhere' ? elsewhere : `Visitor ${actor} was the hundredth, and nobody else.`;
  setText(outcome, mine ? 'You were the hundredth, and nobody else.' : stranger);
  await showRows();
}
