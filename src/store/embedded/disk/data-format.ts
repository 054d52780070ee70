import { explainMisfit } from '../../../counters/metrics.js';
import type { ActorKeys } from '../../../counters/ids.js';
import { type RegionIncarnation, UNNAMED_REGION } from '../../../counters/pn-counter.js';

/** 4: keys of actors and sessions are made in another way than in 3. */
export const FORMAT = 4;

/** The facts that a data directory was made with. All but the metrics and the incarnations stay for the lifetime of the data. */
export interface Meta {
  readonly buckets: number;
  readonly actorKeys: ActorKeys;
  /** As in `METRICS`. Records hold counts by its order, so it may only be added to. */
  readonly metrics: string;
  /** See readFileId: a data file that was copied, or came from a backup, has another one. */
  readonly fileId: string;
  /** Every incarnation of every region whose counts are here. Records refer to them by index; the own region's last one counts now. */
  readonly incarnations: readonly RegionIncarnation[];
}

/** The fields on disk. Their names are part of the format. */
interface StoredMeta {
  readonly format: number;
  readonly buckets: number;
  readonly actorKeys: ActorKeys;
  readonly metrics: string;
  readonly place: string;
  readonly replicas: readonly RegionIncarnation[];
}

export function encodeMeta({ buckets, actorKeys, metrics, fileId, incarnations }: Meta): string {
  const stored: StoredMeta = {
    format: FORMAT,
    buckets,
    actorKeys,
    metrics,
    place: fileId,
    replicas: incarnations,
  };
  return JSON.stringify(stored);
}

export function readFormat(text: string): number {
  return (JSON.parse(text) as StoredMeta).format;
}

/** @throws Error if the data has another format */
export function decodeMeta(text: string): Meta {
  const { format, buckets, actorKeys, metrics, place, replicas } = JSON.parse(text) as StoredMeta;
  if (format === FORMAT) return { buckets, actorKeys, metrics, fileId: place, incarnations: replicas };
  throw new Error(
    `format ${format} is not supported (this version reads format ${FORMAT}); use the version that wrote it`,
  );
}

/** @throws Error that says which setting contradicts the data */
export function checkCompatible(
  meta: Meta,
  {
    buckets,
    actorKeys,
    metrics,
    region,
  }: Pick<Meta, 'buckets' | 'actorKeys' | 'metrics'> & { readonly region: string },
): void {
  const named = meta.incarnations[0]?.region ?? UNNAMED_REGION;
  if (named !== UNNAMED_REGION && named !== region) {
    throw new Error(`it belongs to REGION=${named}, which cannot be changed`);
  }
  if (meta.buckets !== buckets) throw new Error(`it was made with BUCKETS=${meta.buckets}, which cannot be changed`);
  if (meta.actorKeys !== actorKeys) {
    const made = `ACTOR_KEYS=${meta.actorKeys}`;
    throw new Error(`it was made with ${made}, which cannot be changed; set ${made}`);
  }
  const misfit = explainMisfit(meta.metrics, metrics);
  if (misfit !== null) throw new Error(misfit);
}
