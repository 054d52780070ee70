/** What the drill says of its regions and of the cables between them; one cable a direction. */
export interface DrillState {
  readonly regions: readonly { readonly name: string; readonly url: string }[];
  readonly cables: readonly { readonly from: string; readonly to: string; readonly cut: boolean }[];
}

/**
 * `npm run drill -- --page` runs three regions on this machine and lets this page pull their cables: no gateway can do that.
 * The address names the port where the drill listens: `?drill=41234`.
 */
export class Drill {
  readonly #socket: WebSocket;

  /** @param ended called when the drill is not there, or not any more */
  constructor(port: number, told: (state: DrillState) => void, ended: () => void) {
    this.#socket = new WebSocket(`ws://127.0.0.1:${port}`);
    this.#socket.onmessage = ({ data }) => told(JSON.parse(String(data)) as DrillState);
    this.#socket.onclose = ended;
  }

  /** Both directions. */
  cut(one: string, other: string, cut: boolean): void {
    for (const [from, to] of [
      [one, other],
      [other, one],
    ]) {
      this.#socket.send(JSON.stringify({ from, to, cut }));
    }
  }
}

/** @returns the port of the drill, or `null` if the address names none */
export function drillPort(): number | null {
  const port = Number(new URLSearchParams(location.search).get('drill') ?? Number.NaN);
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : null;
}
