#!lua flags=allow-oom
-- Disarms a milestone of a metric of a post; the meaning is that of `disarm` in milestones.ts, and with other regions in milestone-homes.ts.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: milestones, homes, chunks of posts, change feed
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of an incarnation that starts, a blank, wall time (ms since 1970)
-- ARGV[3]  number of this region, -1 without others
-- ARGV[4]  names of this region and of all others, with commas between them
-- ARGV[5]  the post
-- ARGV[6]  its metric
-- ARGV[7]  the total at which the milestone is reached
-- Returns  1 if it was armed, else 0
-- @include bucket keys server-time hybrid-clock posts milestones homes home-decisions
-- @include home-changes
-- @constants FIELD_MILESTONES KEY_MILESTONES
local call = redis.call
local name, metric, n = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local key = bucket.key .. KEY_MILESTONES
bucket.own_region = tonumber(ARGV[3])
local stamp
local field = home_changes.open(ARGV[4], function() return stamp end)
if bucket.own_region >= 0 then stamp = hybrid_clock.now(server_time.now_ms()) end

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
  if not entry and call('HLEN', key) == 1 and not homes.has_any then
    call('HDEL', bucket.key, FIELD_MILESTONES)
    call('HDEL', key, name)
    return
  end
  if entry or homes.has_any then call('HSET', key, name, entry or '') else call('HDEL', key, name) end
  milestones.change_list(name, metric, by_metric[metric].armed[1])
  milestones.write_changed_field(-1)
end

-- Lets other regions count again if nothing is armed any more.
local function change_home(armed)
  posts.names[1] = name
  homes.read(1)
  local home, starts = homes.find(1, metric), {}
  if not home then return end
  for _, start in ipairs(home.starts) do
    if start[1] ~= n then starts[#starts + 1] = start end
  end
  homes.ensure(1, metric).starts = starts
  if #armed == 0 then home_decisions.release(1, metric) end
end

local by_metric, was_armed = {}, false
milestones.open(field)
if field then
  milestones.create_writers()
  home_decisions.open(false)
  by_metric = milestones.unpack_states(call('HGET', keys.track_key(key), name))
  was_armed = by_metric[metric] and remove(by_metric[metric].armed) or false
  if was_armed and homes.has_any then change_home(by_metric[metric].armed) end
  if homes.has_any then home_changes.prepare() end
end
keys.assert_slot_local()
if was_armed then
  write(by_metric)
else
  -- Written again, so that waiting for replicas after this call waits for the one that has disarmed it.
  call('HSET', bucket.key, FIELD_MILESTONES, field or cmsgpack.pack(0))
  if not field then call('HDEL', bucket.key, FIELD_MILESTONES) end
end
home_changes.write()
return was_armed and 1 or 0
