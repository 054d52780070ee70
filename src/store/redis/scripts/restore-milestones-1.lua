#!lua
-- Takes over records of milestones from a copy; the meaning is that of `restoreRecords` in milestones.ts.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: milestones, their records
-- ARGV[1]  run id of the server
-- ARGV[2]  for each metric of a post: the post, metric, number of its records, their values (lib/milestone-records.lua); msgpack values after their
--          number
-- Returns  1
-- @include bucket keys msgpack milestones milestone-records
-- @constants FIELD_MILESTONES KEY_MILESTONES KEY_MILESTONE_RECORDS RECORD_VALUES
local call, pack, unpack = redis.call, cmsgpack.pack, unpack
local values = msgpack.unpack_list(ARGV[2])
local states_key, records_key = keys.track_key(bucket.key .. KEY_MILESTONES), keys.track_key(bucket.key .. KEY_MILESTONE_RECORDS)
milestones.open(call('HGET', bucket.key, FIELD_MILESTONES) or pack(0))
milestones.create_writers()
milestone_records.create()
local armed_count, entries, records = milestones.armed_count, {}, {}

local function disarm(armed, n)
  for i, one in ipairs(armed) do
    if one == n then
      armed_count = armed_count - 1
      return table.remove(armed, i)
    end
  end
end

-- @param at  the last value before the records
local function restore(name, metric, count, at)
  local field = name .. ' ' .. metric
  local by_metric = entries[name] or milestones.unpack_states(call('HGET', states_key, name))
  local state = by_metric[metric] or { record_count = 0, armed = {} }
  local stored = records[field] or milestone_records.read(name, metric)
  for first = at + 1, at + RECORD_VALUES * count, RECORD_VALUES do
    if not milestone_records.has(stored, values[first]) then
      stored = stored .. pack(unpack(values, first, first + RECORD_VALUES - 1))
      state.record_count = state.record_count + 1
      disarm(state.armed, values[first])
    end
  end
  by_metric[metric], entries[name], records[field] = state, by_metric, stored
end

local at = 1
while at < #values do
  local count = values[at + 3]
  restore(values[at + 1], values[at + 2], count, at + 3)
  at = at + 3 + RECORD_VALUES * count
end
keys.assert_slot_local()
for field, packed in pairs(records) do call('HSET', records_key, field, packed) end
for name, by_metric in pairs(entries) do
  call('HSET', states_key, name, milestones.pack_states(by_metric))
  for metric, state in pairs(by_metric) do milestones.change_list(name, metric, state.armed[1]) end
end
-- Written even if nothing has changed, so that waiting for replicas after this call waits for the one that has restored them.
milestones.write_changed_field(armed_count - milestones.armed_count)
return 1
