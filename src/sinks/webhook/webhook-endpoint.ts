import { Agent as HttpAgent, type ClientRequest, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { urlToHttpOptions } from 'node:url';
import type { Clock } from '../../common/clock.js';

/** Time limit from the request to the end of the response. */
const REQUEST_MS = 10_000;
/** More of a response is not read, because only its status matters. */
const RESPONSE_BYTES_MAX = 64 * 1024;

export interface WebhookResponse {
  readonly status: number;
  /** The header `Retry-After`. */
  readonly retryAfter: string | undefined;
}

/** A request in flight, or the one that replaced it. */
interface Call {
  isLate: boolean;
  request: ClientRequest;
}

/** Sends requests to one URL and nowhere else: redirects are responses like others. */
export class WebhookEndpoint {
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #isSecure: boolean;

  constructor(
    private readonly url: URL,
    private readonly clock: Clock,
  ) {
    this.#isSecure = url.protocol === 'https:';
    const options = { keepAlive: true, maxSockets: 1 };
    this.#agent = this.#isSecure ? new HttpsAgent(options) : new HttpAgent(options);
  }

  /** @throws Error, one line without the URL */
  async post(body: string, headers: Readonly<Record<string, string>>): Promise<WebhookResponse> {
    const call: Call = { isLate: false, request: this.#request(body, headers) };
    const timer = this.clock.after(REQUEST_MS, () => {
      call.isLate = true;
      call.request.destroy();
    });
    try {
      return await readResponse(call.request).catch((error: unknown) => {
        // The receiver closed a kept connection just when it was used again.
        if (call.isLate || !call.request.reusedSocket || readCode(error) !== 'ECONNRESET') throw error;
        call.request = this.#request(body, headers);
        return readResponse(call.request);
      });
    } catch (error) {
      const problem = call.isLate ? `no response within ${REQUEST_MS / 1_000} s` : describeError(error);
      throw new Error(problem, { cause: error });
    } finally {
      timer.cancel();
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #request(body: string, headers: Readonly<Record<string, string>>): ClientRequest {
    const request = (this.#isSecure ? httpsRequest : httpRequest)({
      ...urlToHttpOptions(this.url),
      method: 'POST',
      agent: this.#agent,
      headers: {
        ...headers,
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(body),
        'User-Agent': 'Tallycast',
      },
    });
    request.end(body);
    return request;
  }
}

/** Resolves at the end of the response. If that is cut off, its status is still right. */
function readResponse(request: ClientRequest): Promise<WebhookResponse> {
  return new Promise((resolve, reject) => {
    request.on('error', reject);
    request.once('response', (response) => {
      const { statusCode = 0, headers } = response;
      let length = 0;
      response.on('data', (chunk: Buffer) => {
        length += chunk.length;
        if (length > RESPONSE_BYTES_MAX) response.destroy();
      });
      // 'close' follows.
      response.on('error', () => undefined);
      response.once('close', () => resolve({ status: statusCode, retryAfter: headers['retry-after'] }));
    });
  });
}

function readCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

/** The message of a failed connection may have the address, which is the operator's affair. */
function describeError(error: unknown): string {
  const { syscall, code, message } = error as NodeJS.ErrnoException;
  return code === undefined ? message : [syscall, code].filter((text) => text !== undefined).join(' ');
}
