#!lua flags=no-writes
-- Reads chunks of members, and for each member the stamp of its last word.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: chunks of posts and members, registers
-- ARGV[1]  run id of the server
-- ARGV[2]  JSON array: a post, metric, a chunk of its members, how many chunks these have, the next post …
-- Returns  for each chunk: nil if the set has another number of chunks now; or {an actor's key in decimal, its stamp or 0, the next
--          actor …}
-- include post-record
-- include incarnation
-- include replication-state
-- include msgpack
-- include toggle-log
-- include registers
local asked = cjson.decode(ARGV[2])
local state, packed = unpack(call('HMGET', bucket, 's', 'x'))
local _, post_chunks = state_of(state)
local _, _, _, floor_known = cmsgpack.unpack(packed or pack(0))
local answer, sets, actors, places = {}, {}, {}, {}
for i = 1, #asked, 4 do
  local name, metric, chunk, chunks = asked[i], asked[i + 1], asked[i + 2], asked[i + 3]
  local key = touch(posts_prefix() .. chunk_of(hash_of_post(name), post_chunks, size_of(post_chunks)))
  local list = false
  if part(decode(call('HGET', key, name)), 4 * metric + MORE_CHUNKS) + 1 == chunks then
    list = {}
    for _, actor in ipairs(call('SMEMBERS', touch(members_prefix(metric, name) .. chunk))) do
      list[#list + 1], list[#list + 2] = actor, '0'
      sets[#sets + 1], actors[#actors + 1], places[#places + 1] = set_of(name, metric), actor, { list, #list }
    end
  end
  answer[#answer + 1] = list
end
for i, stamp in ipairs(registers.stamps_of(sets, actors, (floor_known or 0) + 1)) do
  local list, at = unpack(places[i])
  if stamp > 0 then list[at] = text_of(stamp) end
end
all_here()
return answer
