#!lua
-- Starts incarnations of buckets whose epoch or stamps peers would mistake for others, and begins or ends a backfill from peers; the
-- meaning is that of startIncarnation and completeBackfill in replicated-store.ts, and of restamp and rewindClock in build-delta.ts.
--
-- Reads all registers that are not stable in one call: an update that is sent in between would have stamps of both incarnations.
-- Incarnations start rarely, and most have later stamps from the start.
--
-- KEYS[i]  tc:{b}    the bucket's hash; derived from it: toggle logs, registers, change feed
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of an incarnation that starts, a blank, wall time (ms since 1970)
-- ARGV[3]  number of this region
-- ARGV[4]  the epoch has to be above this one
-- ARGV[5]  stamps have to be above this one
-- ARGV[6]  1: the backfill begins; 0: as it is; -1: it is complete
-- ARGV[7]  1: the clock had run ahead, and is set back to that stamp; else 0
-- ARGV[8]  names of this region and of all others, with commas between them
-- Returns  number of toggle updates that were restamped
-- @include bucket keys incarnation hybrid-clock replication-state toggle-log registers milestones homes
-- @constants VALUES_AT_ONCE TOGGLES_PER_STAMP FIELD_MILESTONES FIELD_REGISTERS
-- @constants KEY_CHANGE_FEED KEY_LOCAL_LOG KEY_REMOTE_LOG
local call, unpack, min, max = redis.call, unpack, math.min, math.max
bucket.own_region = tonumber(ARGV[3])
homes.configure(ARGV[8], nil)
local epoch_min, clock_min, backfill, rewinds_clock = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1'

-- @param is_wanted  is called with a stamp
-- @return by set and actor: stamp of the latest wanted update after `low`
local function read_stamps(low, is_wanted)
  local stamps = {}
  local function take(set, actor, stamp)
    if stamp <= low or not is_wanted(stamp) then return end
    stamps[set] = stamps[set] or {}
    stamps[set][actor] = max(stamps[set][actor] or 0, stamp)
  end
  for _, key in ipairs({ bucket.key .. KEY_LOCAL_LOG, bucket.key .. KEY_REMOTE_LOG }) do
    local entries = call('XRANGE', keys.track_key(key), hybrid_clock.stamp_text(low + 1), '+')
    toggle_log.each_group(entries, function(set, stamp, list, from, to)
      for i = from, to do take(set, list[i], stamp) end
    end)
  end
  local state = registers.read_state()
  for chunk = 0, state and state.newest > low and state.chunks - 1 or -1 do registers.each(chunk, take) end
  return stamps
end

-- @return {stamp, post, metric, actor, id of the toggle}, by the last of which updates of one stamp are sorted
local function describe_update(stamp, set, actor)
  local post, metric = toggle_log.parse_set_name(set)
  return { stamp, post, metric, actor, toggle_log.toggle_name(set, actor) }
end

local function sort_updates(updates)
  table.sort(updates, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a[5] < b[5]
  end)
  return updates
end

-- @return updates of earlier incarnations up to `clock_min` that have no later one, sorted by stamp
local function read_local_updates()
  local low, updates, sets, actors = max(bucket.started_at_stamp, bucket.stable_stamp), {}, {}, {}
  local stamps = read_stamps(low, function(stamp) return stamp <= clock_min and hybrid_clock.is_local(stamp) end)
  for set, by_actor in pairs(stamps) do
    for actor in pairs(by_actor) do sets[#sets + 1], actors[#actors + 1] = set, actor end
  end
  for i, stamp in ipairs(registers.read_stamps(sets, actors, low + 1)) do
    if stamps[sets[i]][actors[i]] == stamp then updates[#updates + 1] = describe_update(stamp, sets[i], actors[i]) end
  end
  return sort_updates(updates)
end

-- @return updates that are not stable: those up to `clock_min`, and those after it, which are restamped
local function read_all_updates()
  local kept, ahead = {}, {}
  for set, by_actor in pairs(read_stamps(bucket.stable_stamp, function() return true end)) do
    for actor, stamp in pairs(by_actor) do
      local list = stamp > clock_min and ahead or kept
      list[#list + 1] = describe_update(stamp, set, actor)
    end
  end
  return sort_updates(kept), sort_updates(ahead)
end

-- @return the updates from `first` to `last` as the values of a log entry without stamps: see lib/toggle-log.lua
local function build_entry(updates, first, last)
  local by_set, sets, list = {}, {}, {}
  for i = first, last do
    local _, post, metric, actor = unpack(updates[i])
    local set = toggle_log.set_name(post, metric)
    local group = by_set[set]
    if not group then
      group = { post, metric, 0, 0 }
      by_set[set], sets[#sets + 1] = group, set
    end
    group[4] = group[4] + 1
    group[#group + 1] = actor
  end
  for _, set in ipairs(sets) do
    for _, value in ipairs(by_set[set]) do list[#list + 1] = value end
  end
  return list
end

-- Gives updates stamps above all others, as if batches had made them.
-- @return entries of the local log: stamp, updates written up to it, values
local function restamp(updates)
  local entries = {}
  for first = 1, #updates, TOGGLES_PER_STAMP do
    local last = min(first + TOGGLES_PER_STAMP - 1, #updates)
    bucket.local_log_written = bucket.local_log_written + last - first + 1
    entries[#entries + 1] = { hybrid_clock.now(0), bucket.local_log_written, build_entry(updates, first, last) }
  end
  return entries
end

-- @return all keys with stamps, but those of posts and members
local function list_stamped_keys()
  local stamped = { keys.track_key(bucket.key .. KEY_LOCAL_LOG), keys.track_key(bucket.key .. KEY_REMOTE_LOG), keys.track_key(bucket.key .. KEY_CHANGE_FEED) }
  local state = registers.read_state()
  local chunk_count = state and state.chunks or 0
  for chunk = 0, chunk_count - 1 do stamped[#stamped + 1] = keys.track_key(keys.registers_prefix() .. chunk) end
  -- In a slot that is moving, a log that was removed cannot be written again. A tracked key that does not exist makes
  -- `assert_slot_local` fail there, before anything is removed.
  keys.track_key(keys.registers_prefix() .. chunk_count)
  return stamped
end

-- See rewindClock in replication-state.ts. A stream takes no entry before its last, so both logs are removed and written again.
-- @return keys to be removed, updates to be kept as they are, entries of restamped updates, number of these updates
local function rewind_clock()
  local kept, ahead = read_all_updates()
  local stamped = list_stamped_keys()
  bucket.recovered_up_to = max(bucket.recovered_up_to, bucket.clock)
  bucket.clock, bucket.started_at_stamp, bucket.dropped_up_to = clock_min, clock_min, clock_min
  bucket.complete_up_to, bucket.acked_up_to = min(bucket.complete_up_to, clock_min), min(bucket.acked_up_to, clock_min)
  bucket.stable_stamp = min(bucket.stable_stamp, clock_min)
  bucket.local_log_removed, bucket.remote_log_removed = bucket.local_log_written, bucket.remote_log_written
  bucket.are_logs_changed = true
  return stamped, kept, restamp(ahead), #ahead
end

local function write_kept(updates)
  for first = 1, #updates, TOGGLES_PER_STAMP do
    local list, last = {}, min(first + TOGGLES_PER_STAMP - 1, #updates)
    for i = first, last do
      local stamp, post, metric, actor = unpack(updates[i])
      for _, value in ipairs({ post, metric, stamp, 1, actor }) do list[#list + 1] = value end
    end
    bucket.remote_log_written = bucket.remote_log_written + last - first + 1
    toggle_log.append(bucket.key .. KEY_REMOTE_LOG, clock_min, bucket.remote_log_written, list, #list)
  end
end

-- Starts an incarnation if the epoch has been taken, and gives the bucket later stamps.
-- @return as rewind_clock does
local function prepare()
  if bucket.epoch <= epoch_min then
    bucket.epoch, bucket.nonce, bucket.is_new_incarnation = epoch_min + 1, (incarnation.new_values()), true
  end
  if rewinds_clock then
    if bucket.clock > clock_min then return rewind_clock() end
  elseif bucket.started_at_stamp < clock_min then
    local updates = read_local_updates()
    hybrid_clock.receive(clock_min)
    bucket.started_at_stamp = bucket.clock
    return {}, {}, restamp(updates), #updates
  end
  return {}, {}, {}, 0
end

-- After a backfill homes are sent again, because what is confirmed was held back.
-- @return entries of the change feed: stamp, post, the next stamp …; how many entries the feed has
local function list_homes()
  homes.open()
  if not homes.has_any then return {}, 0 end
  local list = {}
  for _, entry in ipairs(homes.read_all()) do
    local has_home = false
    for _, state in pairs(homes.unpack_states(entry[2])) do has_home = has_home or state.region ~= '' end
    if has_home then list[#list + 1], list[#list + 2] = hybrid_clock.stamp_text(hybrid_clock.now(0)), entry[1] end
  end
  return list, call('ZCARD', keys.track_key(bucket.key .. KEY_CHANGE_FEED))
end

local function start(key)
  bucket.reset(key)
  local _, milestones_field = replication_state.open(FIELD_MILESTONES)
  milestones.open(milestones_field)
  local epoch_before, nonce_before = bucket.epoch, bucket.nonce
  local removed, kept, entries, restamped = prepare()
  if backfill > 0 or epoch_before ~= bucket.epoch then replication_state.start_incarnation(epoch_before, nonce_before) end
  if backfill ~= 0 then bucket.is_backfilling = backfill > 0 and 1 or 0 end
  local sent_again, feed_length = {}, 0
  if backfill < 0 then
    bucket.recovered_up_to = bucket.clock
    sent_again, feed_length = list_homes()
  end
  keys.assert_slot_local()
  for first = 1, #removed, VALUES_AT_ONCE do
    call('UNLINK', unpack(removed, first, min(first + VALUES_AT_ONCE - 1, #removed)))
  end
  if #removed > 0 then call('HDEL', bucket.key, FIELD_REGISTERS) end
  write_kept(kept)
  for _, entry in ipairs(entries) do toggle_log.append(bucket.key .. KEY_LOCAL_LOG, entry[1], entry[2], entry[3], #entry[3]) end
  replication_state.add_changes(sent_again, #sent_again, feed_length)
  bucket.is_state_changed = true
  incarnation.write()
  replication_state.write()
  return restamped
end

local restamped_count = 0
for _, key in ipairs(KEYS) do restamped_count = restamped_count + start(key) end
return restamped_count
