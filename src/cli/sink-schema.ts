import { systemClock } from '../common/clock.js';
import type { Settings } from '../config/settings.js';
import { isPostgres } from '../config/sink-url-list.js';
import { PostgresSink } from '../sinks/postgres/postgres-sink.js';

/** The SQL that makes the tables of each PostgreSQL sink. @throws Error with one line */
export function buildSinkSchema(settings: Settings): string {
  const urls = settings.sinkUrls.filter(isPostgres);
  if (urls.length === 0) {
    throw new Error('sink schema needs SINK_URL=postgres://…: the schema and the user of the tables stand in it');
  }
  const options = { ...settings, clock: systemClock, warn: () => undefined };
  return urls.map((url) => new PostgresSink({ ...options, url }).schemaSql).join('\n');
}
