import { formatSinkUrl, parseFileUrl } from '../../config/sink-urls.js';
import { RowEncoder } from '../count-row.js';
import type { Sink, SinkOptions } from '../sink.js';
import { type PositionStore, StoredPositions } from '../stored-positions.js';
import { NdjsonFile } from './ndjson-file.js';

const FILE_BYTES_MAX = 256 * 1024 * 1024;

/** A sink that appends counts to `file:///path`. @throws Error, one line for the operator */
export function buildFileSink({ url, region, metrics }: SinkOptions, store: PositionStore): Sink {
  const path = parseFileUrl(url);
  const name = formatSinkUrl(url);
  const file = new NdjsonFile({ name, path, rows: new RowEncoder(region, metrics), bytesMax: FILE_BYTES_MAX });
  return new StoredPositions(store, name, file);
}
