/** Separator of packets in one request: https://socket.io/docs/v4/engine-io-protocol/#http-long-polling-1 */
const SEPARATOR = '\x1e';

/** Engine.IO over plain HTTP requests. */
export class Polling {
  #acknowledgements = 0;

  private constructor(
    readonly url: string,
    private readonly headers: Record<string, string>,
  ) {}

  /** Opens a session of Engine.IO without Socket.IO. */
  static async open(origin: string, headers: Record<string, string> = {}): Promise<Polling> {
    const url = `${origin}/socket.io/?EIO=4&transport=polling`;
    const response = await fetch(url, { headers });
    const { sid } = JSON.parse((await response.text()).slice(1)) as { sid: string };
    return new Polling(`${url}&sid=${sid}`, headers);
  }

  /** Opens a session and a Socket.IO socket in the namespace `/`. */
  static async connect(origin: string, headers: Record<string, string> = {}): Promise<Polling> {
    const polling = await Polling.open(origin, headers);
    await polling.send('40');
    await polling.packets(([packet]) => packet!.startsWith('40'));
    return polling;
  }

  /** Sends all packets in one request. */
  async send(...packets: readonly string[]): Promise<{ status: number; body: string }> {
    return this.post(packets.join(SEPARATOR));
  }

  async post(
    body: string | Uint8Array,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; body: string }> {
    const response = await fetch(this.url, { method: 'POST', body, headers: { ...this.headers, ...headers } });
    return { status: response.status, body: await response.text() };
  }

  /** Polls until the received packets are `enough`. */
  async packets(enough: (packets: readonly string[]) => boolean): Promise<readonly string[]> {
    const packets: string[] = [];
    while (packets.length === 0 || !enough(packets)) {
      const response = await fetch(this.url, { headers: this.headers });
      const text = await response.text();
      if (response.status !== 200) throw new Error(`${response.status}: ${text}`);
      packets.push(...text.split(SEPARATOR));
    }
    return packets;
  }

  /** Whether the gateway has no such session any more. If it has, this waits for its next packets. */
  async hasEnded(): Promise<boolean> {
    const response = await fetch(this.url, { headers: this.headers });
    await response.text();
    return response.status === 400;
  }

  /** Sends all events in one request and resolves with their acknowledgements. `#` stands for the acknowledgement id. */
  async emitWithAck(events: readonly string[]): Promise<readonly unknown[]> {
    const first = this.#acknowledgements + 1;
    this.#acknowledgements += events.length;
    const answers = new Map<number, unknown>();
    const { status } = await this.send(...events.map((event, i) => `4${event.replace('#', String(first + i))}`));
    if (status !== 200) throw new Error(`answered ${status}`);
    await this.packets((packets) => {
      for (const packet of packets) {
        const [, id, list] = /^43(\d+)(\[.*\])$/.exec(packet) ?? [];
        if (list !== undefined) answers.set(Number(id), (JSON.parse(list) as unknown[])[0]);
      }
      return answers.size === events.length;
    });
    return events.map((_, i) => answers.get(first + i));
  }
}
