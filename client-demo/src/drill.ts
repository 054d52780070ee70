/** The drill's regions and the cables between them; one cable for each direction. */
export interface DrillState {
  readonly regions: readonly { readonly name: string; readonly url: string; readonly up: boolean }[];
  readonly cables: readonly { readonly from: string; readonly to: string; readonly cut: boolean }[];
}

/**
 * `npm run drill -- --page` runs three regions on this machine and lets this page pull their cables and kill them. The address has the
 * port of the drill: `?drill=41234`.
 */
export class Drill {
  readonly #socket: WebSocket;

  /** @param ended called when the drill is not running or has ended */
  constructor(port: number, changed: (state: DrillState) => void, ended: () => void) {
    this.#socket = new WebSocket(`ws://127.0.0.1:${port}`);
    this.#socket.onmessage = ({ data }) => changed(JSON.parse(String(data)) as DrillState);
    this.#socket.onclose = ended;
  }

  /** Cuts or mends both directions. */
  cut(one: string, other: string, cut: boolean): void {
    for (const [from, to] of [
      [one, other],
      [other, one],
    ]) {
      this.#socket.send(JSON.stringify({ from, to, cut }));
    }
  }

  /** Kills the gateway of a region with -9 and starts it again. */
  kill(region: string): void {
    this.#socket.send(JSON.stringify({ kill: region }));
  }
}

/** @returns the port of the drill, or `null` if the address has none */
export function drillPort(): number | null {
  const port = Number(new URLSearchParams(location.search).get('drill') ?? Number.NaN);
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : null;
}
