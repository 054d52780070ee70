import { LiveCountsError } from './errors.js';

/** The rule of docs/protocol.md. */
const POST_ID = /^(?!\.\.?$)[A-Za-z0-9_.:-]{1,64}$/;

/** @throws LiveCountsError BAD_REQUEST if the text is not a post id */
export function checkPostId(id: string): void {
  if (POST_ID.test(id)) return;
  const rule = 'it must be 1 to 64 characters of A-Z a-z 0-9 _ . : -, not . or ..';
  throw new LiveCountsError('BAD_REQUEST', `"${id}" is not a post id: ${rule}`);
}

/** Parameters by which campaigns and networks follow visitors: the page is the same without them. */
const TRACKING = /^(utm_.*|(fb|g|dc|ms|y|tt|tw)clid|[gw]braid|igshid|mc_[ce]id|_g[al])=/;
/** FNV-1a with 128 bits: https://www.rfc-editor.org/rfc/rfc9923 */
const FNV_OFFSET = 0x6c62272e07bb014262b821756295c58dn;
const FNV_PRIME = 0x1000000000000000000013bn;

/**
 * The id of a page: its address where that is possible, `example.org:blog:my-post`, else a hash of it. See "Ids from addresses" in
 * docs/client.md for the rules.
 * @param url without it the address that the page names as canonical, or else its own
 * @throws TypeError if the address is none, or missing where there is no page
 */
export function postId(url: string | URL = pageAddress()): string {
  const { host, pathname, search } = new URL(url);
  const path = host.replace(/^www\./, '') + normalise(pathname).replace(/\/(index\.html?)?$/, '');
  const parameters = normalise(search.slice(1)).split('&').sort();
  const query = parameters.filter((parameter) => parameter && !TRACKING.test(`${parameter}=`)).join('&');
  const address = query ? `${path}?${query}` : path;
  // A port would look like a part of the path.
  const id = address.includes(':') ? '' : address.replaceAll('/', ':');
  // Hashes begin with another character.
  return /^[A-Za-z\d][\w.:-]{0,63}$/.test(id) ? id : hash(address);
}

function pageAddress(): string {
  if (typeof document === 'undefined') throw new TypeError('outside of a page postId needs an address');
  try {
    return new URL(document.querySelector<HTMLLinkElement>('link[rel~=canonical][href]')!.href).href;
  } catch {
    return location.href;
  }
}

/** Decodes what need not be encoded, and encodes what RFC 3986 has no place for. */
function normalise(text: string): string {
  return text.replace(/%[\da-f]{2}|[^!$&'()*+,;=:@/?%\w.~-]/gi, (part) => {
    if (part.length === 1) return encodeURIComponent(part);
    const char = String.fromCharCode(parseInt(part.slice(1), 16));
    return /[\w.~-]/.test(char) ? char : part.toUpperCase();
  });
}

function hash(address: string): string {
  let value = FNV_OFFSET;
  for (const char of address) value = BigInt.asUintN(128, (value ^ BigInt(char.charCodeAt(0))) * FNV_PRIME);
  return `_${value.toString(16).padStart(32, '0')}`;
}
