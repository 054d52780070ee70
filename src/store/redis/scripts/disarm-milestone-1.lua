#!lua flags=allow-oom
-- Disarms a milestone of a metric of a post; the meaning is that of `disarm` in milestones.ts.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: milestones
-- ARGV[1]  run id of the server
-- ARGV[2]  the post
-- ARGV[3]  its metric
-- ARGV[4]  the total at which the milestone is reached
-- Returns  1 if it was armed, else 0
-- @include bucket keys milestones
-- @constants FIELD_MILESTONES KEY_MILESTONES
local call = redis.call
local name, metric, n = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local key = bucket.key .. KEY_MILESTONES
local field = call('HGET', bucket.key, FIELD_MILESTONES)

local function remove(armed)
  for i, one in ipairs(armed) do
    if one == n then
      table.remove(armed, i)
      return true
    end
  end
  return false
end

-- A key is emptied after the last command that names it: see commit-batches-n.lua.
local function write(by_metric)
  local entry = milestones.pack_states(by_metric)
  if not entry and call('HLEN', key) == 1 then
    call('HDEL', bucket.key, FIELD_MILESTONES)
    call('HDEL', key, name)
    return
  end
  if entry then call('HSET', key, name, entry) else call('HDEL', key, name) end
  milestones.change_list(name, metric, by_metric[metric].armed[1])
  milestones.write_changed_field(-1)
end

local by_metric, was_armed = {}, false
if field then
  milestones.open(field)
  milestones.create_writers()
  by_metric = milestones.unpack_states(call('HGET', keys.track_key(key), name))
  was_armed = by_metric[metric] and remove(by_metric[metric].armed) or false
end
keys.assert_slot_local()
if was_armed then
  write(by_metric)
else
  -- Written again, so that waiting for replicas after this call waits for the one that has disarmed it.
  call('HSET', bucket.key, FIELD_MILESTONES, field or cmsgpack.pack(0))
  if not field then call('HDEL', bucket.key, FIELD_MILESTONES) end
end
return was_armed and 1 or 0
