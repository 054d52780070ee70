import { LiveCountsError } from './errors.js';

/** The rule of docs/protocol.md. */
const POST_ID = /^(?!\.\.?$)[A-Za-z0-9_.:-]{1,64}$/;

/** @throws LiveCountsError BAD_REQUEST if the text is not a post id */
export function checkPostId(id: string): void {
  if (POST_ID.test(id)) return;
  const rule = 'it must be 1 to 64 characters of A-Z a-z 0-9 _ . : -, not . or ..';
  throw new LiveCountsError('BAD_REQUEST', `"${id}" is not a post id: ${rule}`);
}
