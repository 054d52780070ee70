#!lua flags=no-writes
-- Reads the milestones of a metric of a post.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: milestones, their records
-- ARGV[1]  run id of the server
-- ARGV[2]  the post
-- ARGV[3]  its metric
-- Returns  msgpack values: time of the server (ms since 1970), how many are armed, these, and the records: see lib/milestones.lua
-- @include bucket keys server-time milestones
-- @constants FIELD_MILESTONES KEY_MILESTONES
local call, pack = redis.call, cmsgpack.pack
local name, metric = ARGV[2], tonumber(ARGV[3])
local field = call('HGET', bucket.key, FIELD_MILESTONES)
local armed, records = {}, ''
if field then
  milestones.open(field)
  milestones.create_writers()
  local state = milestones.unpack_states(call('HGET', keys.track_key(bucket.key .. KEY_MILESTONES), name))[metric]
  armed = state and state.armed or {}
  if state and state.record_count > 0 then records = milestones.read_records(name, metric) end
end
keys.assert_slot_local()
return pack(server_time.now_ms(), #armed, unpack(armed)) .. records
