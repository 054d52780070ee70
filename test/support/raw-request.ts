import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  /** Of an event stream the first bytes; the stream is then ended. */
  readonly body: string;
}

/** A request with exactly these headers beside Host and Connection: `fetch` adds some, and refuses to set others. */
export async function askRaw(
  url: string,
  headers: Record<string, string>,
  { method = 'GET', body = '' }: { readonly method?: string; readonly body?: string } = {},
): Promise<RawAnswer> {
  const asked = request(url, { method, headers, agent: false });
  asked.end(body);
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) {
    chunks.push(chunk as Buffer);
    if (response.headers['content-type'] === 'text/event-stream') break;
  }
  return { status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks).toString() };
}
