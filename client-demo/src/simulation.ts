import { find } from './page.js';
import { Visitor } from './visitor.js';

const VISITORS = 4;
const READOUT_EVERY_MS = 500;
const WINDOW_MS = 2_000;

/** The button that starts and stops the visitors, and the readouts of what the gateway acknowledges to them. */
export function offerSimulation(url: string, posts: readonly string[]): void {
  const button = find('[data-testid=simulate]');
  const acknowledgements = new Acknowledgements();
  const visitors = new Set<Visitor>();

  const leave = (visitor: Visitor) => {
    visitor.close();
    visitors.delete(visitor);
  };
  /** Whoever is done makes room for another: with four actors for ever, no post could have more than four likes. */
  const enter = () => {
    const visitor = new Visitor(
      url,
      posts,
      (latencyMs) => acknowledgements.add(latencyMs),
      () => {
        leave(visitor);
        enter();
      },
    );
    visitors.add(visitor);
  };

  button.addEventListener('click', () => {
    const running = visitors.size > 0;
    if (running) visitors.forEach(leave);
    else for (let i = 0; i < VISITORS; i++) enter();
    button.dataset['running'] = String(!running);
    button.textContent = running ? 'Start traffic' : 'Stop traffic';
  });
  setInterval(() => acknowledgements.show(), READOUT_EVERY_MS);
}

class Acknowledgements {
  private readonly ops = find('[data-testid=ops]');
  private readonly latency = find('[data-testid=latency]');
  private readonly total = find('[data-testid=acknowledged]');
  private count = 0;
  private recent: { readonly at: number; readonly latencyMs: number }[] = [];

  add(latencyMs: number): void {
    this.count++;
    this.recent.push({ at: performance.now(), latencyMs });
  }

  show(): void {
    const since = performance.now() - WINDOW_MS;
    this.recent = this.recent.filter(({ at }) => at > since);
    const sorted = this.recent.map(({ latencyMs }) => latencyMs).sort((a, b) => a - b);
    const median = sorted[Math.floor(sorted.length / 2)];
    this.ops.textContent = (sorted.length / (WINDOW_MS / 1_000)).toFixed(0);
    this.latency.textContent = median === undefined ? '–' : `${median.toFixed(1)} ms`;
    this.total.textContent = this.count.toLocaleString('en');
  }
}
