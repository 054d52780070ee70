/** One of the Server-Sent Events; a comment, which is a heartbeat, has the name ''. */
interface ServerEvent {
  readonly name: string;
  readonly data: string;
}

/**
 * The events of a response's body as they come. By `fetch` and not by an EventSource, which sends no Authorization header,
 * tells no status and reconnects on its own terms.
 * https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent, void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    text += decoder.decode(part.value, { stream: true });
    const blocks = text.split('\n\n');
    text = blocks.pop() ?? '';
    for (const block of blocks) yield eventOf(block);
  }
}

/** Of the standard as much as the gateway uses: one line of data an event, lines that end with a line feed. */
function eventOf(block: string): ServerEvent {
  const lines = block.split('\n');
  const field = (name: string): string => lines.find((line) => line.startsWith(name))?.slice(name.length) ?? '';
  return { name: field('event: '), data: field('data: ') };
}
