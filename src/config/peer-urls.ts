import { toRegionNumber } from '../counters/replication/hybrid-clock.js';
import { isBasePath } from './setting-values.js';

/** The name of a region in settings, on the wire and in stores. */
export const REGION_PATTERN = /^[a-z][a-z0-9-]{0,15}$/;

/** Each region pushes to every other one, and has an entry in each counter. */
const PEERS_MAX = 15;

/** The address of another region. */
export interface PeerAddress {
  readonly region: string;
  /** http or https; its path is the BASE_PATH of that region. */
  readonly url: URL;
}

/** Parses PEERS: `us=https://us.example:3000,ap=…`. @throws Error whose message says what would be right */
export function parsePeers(text: string): PeerAddress[] {
  const peers = text.split(',').map((pair) => parsePeer(pair.trim()));
  if (peers.length > PEERS_MAX) throw new Error(`may name at most ${PEERS_MAX} other regions`);
  if (new Set(peers.map(({ region }) => region)).size < peers.length) throw new Error('names a region twice');
  if (new Set(peers.map(({ url }) => url.href)).size < peers.length)
    throw new Error('has the same URL for two regions');
  return peers;
}

/** Errors do not repeat the URL, because it may contain a password by mistake. */
function parsePeer(pair: string): PeerAddress {
  const [region = '', address = ''] = pair.split(/=(.*)/s);
  if (!REGION_PATTERN.test(region)) {
    throw new Error(
      'must be name=URL pairs such as us=https://us.example:3000; a name is a-z, then up to 15 of a-z 0-9 -',
    );
  }
  const url = URL.canParse(address) ? new URL(address) : null;
  if (url === null || !isGatewayUrl(url)) {
    throw new Error(
      `must give ${region} an http or https URL of host, port and BASE_PATH alone, such as ${region}=https://us.example:3000`,
    );
  }
  return { region, url };
}

function isGatewayUrl({ protocol, href, origin, pathname }: URL): boolean {
  return /^https?:$/.test(protocol) && href === origin + pathname && (pathname === '/' || isBasePath(pathname));
}

/** @throws Error if two names have the same region number: stamps of these regions could be equal */
export function checkRegionNames(own: string, peers: readonly PeerAddress[]): void {
  const byNumber = new Map([[toRegionNumber(own), own]]);
  for (const { region } of peers) {
    if (region === own) throw new Error(`names ${own}, which is this gateway's own REGION: name the others only`);
    const other = byNumber.get(toRegionNumber(region));
    if (other !== undefined) {
      throw new Error(
        `${other} and ${region} have the same region number, so their stamps could be equal: rename one of them`,
      );
    }
    byNumber.set(toRegionNumber(region), region);
  }
}
