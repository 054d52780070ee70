import { createHash } from 'node:crypto';
import { checkWebhookUrl, formatSinkUrl } from '../../config/sink-urls.js';
import { RowEncoder } from '../count-row.js';
import type { Sink, SinkOptions } from '../sink.js';
import { type PositionStore, StoredPositions } from '../stored-positions.js';
import { WebhookReceiver } from './webhook-receiver.js';

/** Tells webhooks apart whose URLs differ in the query alone. */
const DIGEST_CHARS = 8;

/**
 * A sink that posts counts to `https://…`, or to `http://` on this host.
 * @param key SINK_SECRET
 * @throws Error, one line for the operator
 */
export function buildWebhookSink(
  { url, region, metrics, clock }: SinkOptions,
  store: PositionStore,
  key: Buffer,
): Sink {
  checkWebhookUrl(url);
  const name = nameWebhook(url);
  const receiver = new WebhookReceiver({ name, url, key, rows: new RowEncoder(region, metrics), clock });
  return new StoredPositions(store, name, receiver);
}

/** The query may have a secret, so logs, metrics and the store get a digest of it. */
function nameWebhook(url: URL): string {
  if (url.search === '') return formatSinkUrl(url);
  return `${formatSinkUrl(url)}?${createHash('sha256').update(url.search).digest('hex').slice(0, DIGEST_CHARS)}`;
}
