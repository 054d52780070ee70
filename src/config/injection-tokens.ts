/** Tokens of injected values that are not classes. */
export const SETTINGS = Symbol('Settings');
export const CLOCK = Symbol('Clock');
/** A Clock whose wall time is guarded against jumps. It stamps data, and stamps of other regions are checked against it. */
export const DATA_CLOCK = Symbol('DataClock');
export const STORE = Symbol('CounterStore');
/** A stream of the toggles that deltas from other regions and events of the log change; empty without either. */
export const REMOTE_TOGGLES = Symbol('RemoteToggles');
/** The RedisClient; `null` with the embedded store. */
export const REDIS = Symbol('Redis');
/** The EventIntake: keeps events that are answered before their outcome is. */
export const EVENT_INTAKE = Symbol('EventIntake');
/** The EventLog in front of the store; `null` without LOG_URL. */
export const EVENT_LOG = Symbol('EventLog');
/** The Aggregator, which counts the events of the log; `null` without LOG_URL. */
export const AGGREGATOR = Symbol('Aggregator');
/** The Replication with other regions; NO_REPLICATION without any. */
export const REPLICATION = Symbol('Replication');
/** The Sinks that this gateway feeds or may feed; NO_SINKS without SINK_URL. */
export const SINKS = Symbol('Sinks');
/** The page of /metrics, as a function; with several workers it covers all of them. */
export const METRICS_PAGE = Symbol('MetricsPage');
