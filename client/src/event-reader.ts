/** A Server-Sent Event. A comment, which is a heartbeat, has the name ''. */
interface ServerEvent {
  readonly name: string;
  readonly data: string;
}

/**
 * Reads events from the body of a `fetch`. An EventSource sends no Authorization header, hides the status and reconnects
 * by its own rules.
 * https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent, void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
    text += decoder.decode(chunk.value, { stream: true });
    const blocks = text.split('\n\n');
    text = blocks.pop() ?? '';
    for (const block of blocks) yield parseEvent(block);
  }
}

/** Parses only what the gateway sends: one line of data an event, lines that end with a line feed. */
function parseEvent(block: string): ServerEvent {
  const lines = block.split('\n');
  const field = (name: string): string => lines.find((line) => line.startsWith(name))?.slice(name.length) ?? '';
  return { name: field('event: '), data: field('data: ') };
}
