import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { gunzipSync } from 'node:zlib';

export interface RawResponse {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  /** Unpacked. Of an event stream the first bytes; the stream is then ended. */
  readonly body: string;
}

/** A request with exactly these headers beside Host and Connection: `fetch` adds some, and refuses to set others. */
export async function requestRaw(
  url: string,
  headers: Record<string, string>,
  { method = 'GET', body = '' }: { readonly method?: string; readonly body?: string } = {},
): Promise<RawResponse> {
  // Not as a URL, which would be put in order.
  const [, host, port, path] = /^http:\/\/([^/:]+):(\d+)(\/.*)$/.exec(url)!;
  const asked = request({ host, port, path, method, headers, agent: false });
  asked.end(body);
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) {
    chunks.push(chunk as Buffer);
    if (response.headers['content-type'] === 'text/event-stream') break;
  }
  const bytes = Buffer.concat(chunks);
  const unpacked = response.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes;
  return { status: response.statusCode!, headers: response.headers, body: unpacked.toString() };
}
