import { type SinkScheme, sinkScheme } from '../config/sink-url-list.js';
import type { Sink, SinkOptions } from './sink.js';
import type { PositionStore } from './stored-positions.js';

/** Settings that several sinks share, and what some of them need. */
export interface SinkSettings extends Omit<SinkOptions, 'url'> {
  /** The key that signs requests to webhooks. */
  readonly sinkSecret: Buffer | null;
}

/** A class and the library of its protocol are loaded when a sink of the scheme is created. */
type Factory = (options: SinkOptions, store: PositionStore, sinkSecret: Buffer | null) => Promise<Sink>;

const createPostgresSink: Factory = async (options) =>
  new (await import('./postgres/postgres-sink.js')).PostgresSink(options);

const createNatsSink: Factory = async (options, store) =>
  (await import('./nats/nats-sink.js')).buildNatsSink(options, store);

const createFileSink: Factory = async (options, store) =>
  (await import('./file/file-sink.js')).buildFileSink(options, store);

const createWebhook: Factory = async (options, store, sinkSecret) =>
  // A rule of the settings demands the secret.
  (await import('./webhook/webhook-sink.js')).buildWebhookSink(options, store, sinkSecret!);

const FACTORIES: Readonly<Record<SinkScheme, Factory>> = {
  'postgres:': createPostgresSink,
  'postgresql:': createPostgresSink,
  'nats:': createNatsSink,
  'nats+tls:': createNatsSink,
  'http:': createWebhook,
  'https:': createWebhook,
  'file:': createFileSink,
};

/** @throws Error with one line for a sink that cannot be as the settings say */
export function createSink(url: URL, store: PositionStore, settings: SinkSettings): Promise<Sink> {
  const { sinkSecret, ...options } = settings;
  return FACTORIES[sinkScheme(url)]({ ...options, url }, store, sinkSecret);
}
