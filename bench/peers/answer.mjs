/** An acknowledgement with the fields and about the length of the gateway's, from a peer that counts nothing. */
export function answerTo(event, { post, seq }) {
  return {
    ok: true,
    applied: true,
    duplicate: false,
    ...(event !== 'view' && { on: event === 'like' }),
    counts: { post, e: 'local.1.0a1b2c3d', v: seq, likes: 512, views: 4_096, live: 0 },
  };
}
