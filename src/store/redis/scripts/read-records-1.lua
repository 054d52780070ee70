#!lua flags=no-writes
-- Reads records of posts: those that are named, or those of a chunk.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: chunks of posts
-- ARGV[1]  run id of the server
-- ARGV[2]  a chunk, or -1
-- ARGV[3]  names of posts, JSON array
-- Returns  {incarnations of other regions by the slot of their entries, msgpack values: region, epoch, nonce, the next region …,
--           number of chunks, a post, its record, the next post …}
-- @include bucket keys posts
-- @constants FIELD_INCARNATIONS FIELD_SIZES
-- @constants KEY_POSTS
local call = redis.call
local incarnations, sizes = unpack(call('HMGET', bucket.key, FIELD_INCARNATIONS, FIELD_SIZES))
bucket.set_sizes(sizes)
local reply = {}
if tonumber(ARGV[2]) >= 0 then reply = call('HGETALL', keys.track_key(bucket.key .. KEY_POSTS .. ARGV[2])) end
for _, name in ipairs(cjson.decode(ARGV[3])) do
  local record = call('HGET', posts.chunk_key(name), name)
  if record then reply[#reply + 1], reply[#reply + 2] = name, record end
end
keys.assert_slot_local()
table.insert(reply, 1, incarnations or '')
table.insert(reply, 2, bucket.post_chunks)
return reply
