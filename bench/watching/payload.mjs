/** The frames that are fanned out: the gateway's, and one of the same length on the wire for the peers. */

/** An int64 as id. */
export const POST = '1150000000000000042';
/** Length of a gateway's frame with one changed post; the digits of its numbers vary. */
export const FRAME_BYTES = 124;

/** Makes an update of one post whose Socket.IO frame has this many bytes. */
export function updateOfBytes(bytes, tick) {
  const update = { post: POST, e: '', v: 10_000 + tick, likes: 0, views: tick, live: 1_000, d: { views: 1 } };
  update.e = 'e'.repeat(Math.max(0, bytes - frameOf(update).length));
  return update;
}

/** Makes the text of such a frame. */
export function textOfBytes(bytes, tick) {
  return frameOf(updateOfBytes(bytes, tick));
}

function frameOf(update) {
  return `42["counts",[${JSON.stringify(update)}]]`;
}
