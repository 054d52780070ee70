import { formatSinkUrl, parseNatsUrl } from '../../config/sink-urls.js';
import { RowEncoder } from '../count-row.js';
import type { Sink, SinkOptions } from '../sink.js';
import { type PositionStore, StoredPositions } from '../stored-positions.js';
import { NatsReceiver } from './nats-receiver.js';

/** A sink that publishes counts to `nats://host:port?stream=NAME`. @throws Error, one line for the operator */
export function buildNatsSink({ url, region, metrics }: SinkOptions, store: PositionStore): Sink {
  const target = parseNatsUrl(url);
  const name = `${formatSinkUrl(url)}?stream=${target.stream}`;
  const receiver = new NatsReceiver({ name, target, region, rows: new RowEncoder(region, metrics), metrics });
  return new StoredPositions(store, name, receiver);
}
