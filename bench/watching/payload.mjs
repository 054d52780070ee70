/** What is fanned out: a gateway's frame, and its like for the peers, with the same length on the wire. */

/** An id as an int64 makes it. */
export const POST = '1150000000000000042';
/** The text of a gateway's frame with one changed post, give or take the digits of its numbers. */
export const FRAME_BYTES = 124;

/** The update of one post, so that its Socket.IO frame has this many bytes. */
export function updateOfBytes(bytes, tick) {
  const update = { post: POST, e: '', v: 10_000 + tick, likes: 0, views: tick, live: 1_000, d: { views: 1 } };
  update.e = 'e'.repeat(Math.max(0, bytes - frameOf(update).length));
  return update;
}

/** The text of such a frame. */
export function textOfBytes(bytes, tick) {
  return frameOf(updateOfBytes(bytes, tick));
}

function frameOf(update) {
  return `42["counts",[${JSON.stringify(update)}]]`;
}
