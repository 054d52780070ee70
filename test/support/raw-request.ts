import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { gunzipSync } from 'node:zlib';

export interface RawResponse {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  /** Decompressed. An event stream is ended after its first bytes. */
  readonly body: string;
}

/** Sends exactly these headers besides Host and Connection; `fetch` adds some headers and forbids others. */
export async function requestRaw(
  url: string,
  headers: Record<string, string>,
  { method = 'GET', body = '' }: { readonly method?: string; readonly body?: string } = {},
): Promise<RawResponse> {
  // Not parsed as a URL, which would normalise the path.
  const [, host, port, path] = /^http:\/\/([^/:]+):(\d+)(\/.*)$/.exec(url)!;
  const outgoing = request({ host, port, path, method, headers, agent: false });
  outgoing.end(body);
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) {
    chunks.push(chunk as Buffer);
    if (response.headers['content-type'] === 'text/event-stream') break;
  }
  const bytes = Buffer.concat(chunks);
  const unpacked = response.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes;
  return { status: response.statusCode!, headers: response.headers, body: unpacked.toString() };
}
