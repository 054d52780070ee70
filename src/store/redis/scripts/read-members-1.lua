#!lua flags=no-writes
-- Reads chunks of members, and the stamp of each member's latest update.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: chunks of posts and members, toggle logs, registers
-- ARGV[1]  run id of the server
-- ARGV[2]  JSON array: a post, metric, a chunk of its members, number of these chunks, the next post …
-- Returns  for each chunk: nil if the set has another number of chunks; or {an actor's key in decimal, stamp or 0, the next actor …}
-- @include bucket keys hybrid-clock post-record posts toggle-log registers
-- @constants FIELD_SIZES FIELD_REPLICATION
local call = redis.call
local requests = cjson.decode(ARGV[2])
local sizes, packed_state = unpack(call('HMGET', bucket.key, FIELD_SIZES, FIELD_REPLICATION))
bucket.set_sizes(sizes)
local stable_stamp = packed_state and select(4, cmsgpack.unpack(packed_state)) or 0
local replies, sets, actors, lists, indices = {}, {}, {}, {}, {}
for i = 1, #requests, 4 do
  local name, metric, chunk, chunk_count = requests[i], requests[i + 1], requests[i + 2], requests[i + 3]
  local list = false
  if post_record.member_chunks(post_record.decode(call('HGET', posts.chunk_key(name), name)), metric) == chunk_count then
    list = {}
    for _, actor in ipairs(call('SMEMBERS', keys.track_key(keys.members_prefix(metric, name) .. chunk))) do
      list[#list + 1], list[#list + 2] = actor, '0'
      sets[#sets + 1], actors[#actors + 1] = toggle_log.set_name(name, metric), actor
      lists[#lists + 1], indices[#indices + 1] = list, #list
    end
  end
  replies[#replies + 1] = list
end
for i, stamp in ipairs(registers.read_stamps(sets, actors, stable_stamp + 1)) do
  if stamp > 0 then lists[i][indices[i]] = hybrid_clock.stamp_text(stamp) end
end
keys.assert_slot_local()
return replies
