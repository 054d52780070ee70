#!lua flags=no-writes
-- Reads records of posts: of those that are asked for, or of a whole chunk.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: chunks of posts
-- ARGV[1]  run id of the server
-- ARGV[2]  a chunk, or -1
-- ARGV[3]  names of posts, as a JSON array
-- Returns  {lives of other regions by the slot of their entries, as msgpack values one after the other: name, epoch, nonce; number of
--          chunks; a post, its record, the next post …}
-- include post-record
local lives, state = unpack(call('HMGET', bucket, 'v', 's'))
local _, chunks = state_of(state)
local list, asked = {}, cjson.decode(ARGV[3])
if tonumber(ARGV[2]) >= 0 then list = call('HGETALL', touch(posts_prefix() .. ARGV[2])) end
for _, name in ipairs(asked) do
  local record = call('HGET', touch(posts_prefix() .. chunk_of(hash_of_post(name), chunks, size_of(chunks))), name)
  if record then list[#list + 1], list[#list + 2] = name, record end
end
all_here()
table.insert(list, 1, lives or '')
table.insert(list, 2, chunks)
return list
