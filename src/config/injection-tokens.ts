/** Names under which what is not a class is injected. */
export const SETTINGS = Symbol('Settings');
export const CLOCK = Symbol('Clock');
/** A Clock whose wall time is guarded against jumps: data is stamped by it, and what other regions send is held against it. */
export const DATA_CLOCK = Symbol('DataClock');
export const STORE = Symbol('CounterStore');
/** Toggles that deltas from other regions change, as a stream; empty without other regions. */
export const REMOTE_TOGGLES = Symbol('RemoteToggles');
/** The connections that gateways share counters by; `null` with the embedded store. */
export const REDIS = Symbol('Redis');
/** The other regions; `null` where there are none. */
export const REPLICATION = Symbol('Regions');
/** The page of /metrics, as a function; with several workers it covers all of them. */
export const METRICS_PAGE = Symbol('MetricsPage');
