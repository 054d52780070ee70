#!lua flags=no-writes
-- Reads records of posts: those that are named, or those of a chunk.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: chunks of posts
-- ARGV[1]  run id of the server
-- ARGV[2]  a chunk, or -1
-- ARGV[3]  names of posts, JSON array
-- Returns  {1 if the bucket has the server's run id else 0, epoch, nonce,
--           incarnations of other regions by the slot of their entries, msgpack values: region, epoch, nonce, the next region …,
--           number of chunks, 1 if milestones were armed in the bucket else 0, {a post, its record, the next post …}}
-- @include bucket keys posts
-- @constants FIELD_EPOCH FIELD_INCARNATIONS FIELD_MILESTONES FIELD_NONCE FIELD_RUN_ID FIELD_SIZES
-- @constants KEY_POSTS
local call = redis.call
local epoch, nonce, run_id, incarnations, sizes, milestones =
  unpack(call('HMGET', bucket.key, FIELD_EPOCH, FIELD_NONCE, FIELD_RUN_ID, FIELD_INCARNATIONS, FIELD_SIZES, FIELD_MILESTONES))
bucket.set_sizes(sizes)
local records = {}
if tonumber(ARGV[2]) >= 0 then records = call('HGETALL', keys.track_key(bucket.key .. KEY_POSTS .. ARGV[2])) end
for _, name in ipairs(cjson.decode(ARGV[3])) do
  local record = call('HGET', posts.chunk_key(name), name)
  if record then records[#records + 1], records[#records + 2] = name, record end
end
keys.assert_slot_local()
local is_current = run_id == ARGV[1] and 1 or 0
return { is_current, tonumber(epoch) or 0, tonumber(nonce) or 0, incarnations or '', bucket.post_chunks, milestones and 1 or 0, records }
