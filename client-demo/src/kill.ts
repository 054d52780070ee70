import type { LiveCounts } from 'tallycast-client/widgets';
import { Drill, drillPort } from './drill.js';
import { find, setText } from './page.js';

/** Shows the button that kills the gateway of this page, if a drill runs it. */
export function enableKill(live: LiveCounts): void {
  const port = drillPort();
  if (port === null) return;
  const button = find('[data-testid=kill]');
  const report = find('[data-testid=killed]');
  let killedMs: number | undefined;
  let region: string | undefined;
  const drill = new Drill(
    port,
    ({ regions }) => {
      region = regions.find(({ url }) => url === location.origin)?.name;
      button.hidden = region === undefined;
      if (killedMs === undefined)
        setText(report, 'It is started again, as an operator’s supervisor would. Nothing may be lost.');
    },
    () => (button.hidden = true),
  );
  button.addEventListener('click', () => {
    if (killedMs !== undefined && live.state === 'syncing') return;
    killedMs = performance.now();
    drill.kill(region!);
    setText(report, 'Killed. Go on pressing hearts.');
  });
  live.on('synced', () => {
    if (killedMs === undefined || Number.isNaN(killedMs)) return;
    const seconds = ((performance.now() - killedMs) / 1_000).toFixed(1);
    killedMs = Number.NaN;
    report.dataset['seconds'] = seconds;
    setText(report, `Killed with -9, and live again after ${seconds} s. The sum tells whether anything was lost.`);
  });
}
