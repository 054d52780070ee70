/**
 * FNV-1a over the characters of an ASCII text. 32 bits, as JavaScript's bitwise operators give them: signed.
 * Alone it leaves the low bits of short texts uneven: mix it with `fmix32` where they are used.
 * Source: http://www.isthe.com/chongo/tech/comp/fnv/
 * @param seed makes other hashes of the same text; 0 is the standard's
 */
export function fnv1a(text: string, seed = 0): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}

/**
 * Spreads 32 bits over 32 bits, each of which then depends on all: the finalizer of MurmurHash3.
 * Source: Appleby, https://github.com/aappleby/smhasher (public domain)
 * @returns unsigned
 */
export function fmix32(bits: number): number {
  let hash = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
