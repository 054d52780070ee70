import { formatSinkUrl, parseNatsUrl } from '../../config/sink-urls.js';
import type { ChangeStore } from '../../store/change-store.js';
import { RowEncoder } from '../count-row.js';
import type { Sink, SinkOptions } from '../sink.js';
import { StoredPositions } from '../stored-positions.js';
import { NatsReceiver } from './nats-receiver.js';

/** A sink that publishes counts to `nats://host:port?stream=NAME`. @throws Error, one line for the operator */
export function buildNatsSink({ url, region, metrics }: SinkOptions, store: ChangeStore): Sink {
  const target = parseNatsUrl(url);
  const name = `${formatSinkUrl(url)}?stream=${target.stream}`;
  const receiver = new NatsReceiver({ name, target, region, rows: new RowEncoder(region, metrics) });
  return new StoredPositions(store, name, receiver);
}
