/** @returns what scripts take as the names of this region and of all others */
export function formatRegions({
  region,
  peers,
}: {
  readonly region: string;
  readonly peers: readonly string[];
}): string {
  return [region, ...peers].join(',');
}
