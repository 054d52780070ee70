import { type SinkScheme, sinkScheme } from '../config/sink-url-list.js';
import type { Sink, SinkOptions } from './sink.js';

export type SinkSettings = Omit<SinkOptions, 'url'>;

/** Creates the sinks of a scheme. Its class and the library of its protocol are loaded only then. */
const FACTORIES: Readonly<Partial<Record<SinkScheme, (options: SinkOptions) => Promise<Sink>>>> = {};

/** @throws Error with one line for a sink that cannot be as the settings say */
export async function createSink(url: URL, settings: SinkSettings): Promise<Sink> {
  const create = FACTORIES[sinkScheme(url)];
  if (create === undefined)
    throw new Error(`SINK_URL names a sink of ${url.protocol}//, which this version does not have`);
  return await create({ ...settings, url });
}
