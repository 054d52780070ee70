#!lua flags=no-writes
-- Reads the final records of milestones of some posts.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: milestones, their records
-- ARGV[1]  run id of the server
-- ARGV[2]  names of posts, JSON array
-- Returns  msgpack values, for each record: its post, metric, its values (lib/milestone-records.lua)
-- @include bucket keys milestones milestone-records provisional-milestones
-- @constants FIELD_CHANGED_POSTS FIELD_MILESTONES KEY_MILESTONES
local call, pack, format = redis.call, cmsgpack.pack, string.format
local N, REGION, IS_FINAL = milestone_records.N, milestone_records.REGION, milestone_records.IS_FINAL
local is_recording, field = unpack(call('HMGET', bucket.key, FIELD_CHANGED_POSTS, FIELD_MILESTONES))
local found = {}

local function add(name, metric, provisional)
  milestone_records.each(milestone_records.read(name, metric), function(record)
    local is_open = record[REGION] ~= '' and record[IS_FINAL] == 0
    if not is_open and not provisional[format('%s %d #%.0f', name, metric, record[N])] then
      found[#found + 1] = pack(name, metric, unpack(record))
    end
  end)
end

if field then
  milestones.open(field)
  milestone_records.create()
  local provisional, key = provisional_milestones.read_names(is_recording), keys.track_key(bucket.key .. KEY_MILESTONES)
  for _, name in ipairs(cjson.decode(ARGV[2])) do
    for metric, state in pairs(milestones.unpack_states(call('HGET', key, name))) do
      if state.record_count > 0 then add(name, metric, provisional) end
    end
  end
end
keys.assert_slot_local()
return table.concat(found)
