/**
 * FNV-1a over the characters of an ASCII text: a signed 32-bit number, as JavaScript's bitwise operators give it.
 * It leaves the low bits of short texts uneven: mix it with `fmix32` where they are used.
 * Source: http://www.isthe.com/chongo/tech/comp/fnv/
 * @param seed gives other hashes of the same text; 0 is the standard's
 */
export function fnv1a(text: string, seed = 0): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}

/**
 * The finalizer of MurmurHash3: each of the 32 bits of the result depends on all bits of the argument.
 * Source: Appleby, https://github.com/aappleby/smhasher (public domain)
 * @returns unsigned
 */
export function fmix32(bits: number): number {
  let hash = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
