-- scripts/lib/record-changes.lua: records for other regions what the current batch has changed: posts whose counts it has changed, and
-- toggles that it has set.
-- @needs bucket keys hybrid-clock replication-state toggle-log spill-toggle-log msgpack posts current-batch
-- @constants KEY_CHANGE_FEED KEY_LOCAL_LOG
local args = msgpack.args

-- By index of the post, and by member; and how often either was recorded.
local is_counted, count_changes, is_toggled, toggle_changes = {}, 0, {}, 0
-- How many entries the change feed had, and what has to be moved out of the local log.
local feed_length, spill

local function clear()
  is_counted, count_changes, is_toggled, toggle_changes, spill = {}, 0, {}, 0, nil
end

local function record_count(index)
  is_counted[index], count_changes = true, count_changes + 1
end

local function record_toggle(member)
  is_toggled[member], toggle_changes = true, toggle_changes + 1
end

-- Reads what `write` needs. What may fail fails here, before anything is written.
local function prepare()
  if count_changes > 0 then feed_length = redis.call('ZCARD', keys.track_key(bucket.key .. KEY_CHANGE_FEED)) end
  if toggle_changes == 0 then return end
  spill = spill_toggle_log.plan_spill(bucket.key .. KEY_LOCAL_LOG, bucket.local_log_written - bucket.local_log_removed, toggle_changes)
end

local function write_counts(stamp)
  local list, last = {}, 0
  for i = 1, current_batch.posts_count do
    if is_counted[i] then
      list[last + 1], list[last + 2] = stamp, posts.names[i]
      last = last + 2
    end
  end
  replication_state.add_changes(list, last, feed_length)
end

local function write_toggles(stamp)
  local values, last, first, updates = current_batch.values, 0, 0, 0
  for i = current_batch.sets_at + 1, current_batch.members_at, 3 do
    local count, group = values[i + 2], nil
    for member = first + 1, first + count do
      if is_toggled[member] then
        if not group then
          args[last + 1], args[last + 2], args[last + 3] = posts.names[values[i]], values[i + 1], 0
          group, last = last + 4, last + 4
        end
        last = last + 1
        args[last] = values[current_batch.members_at + member]
      end
    end
    if group then
      args[group] = last - group
      updates = updates + last - group
    end
    first = first + count
  end
  bucket.local_log_written = bucket.local_log_written + updates
  toggle_log.append(bucket.key .. KEY_LOCAL_LOG, stamp, bucket.local_log_written, args, last)
end

local function write(stamp)
  if count_changes > 0 then write_counts(hybrid_clock.stamp_text(stamp)) end
  if spill then
    spill_toggle_log.write(spill)
    replication_state.unpack_state()
    bucket.local_log_removed, bucket.are_logs_changed, bucket.is_state_changed = spill.removed, true, true
    bucket.dropped_up_to = math.max(bucket.dropped_up_to, spill.stamp)
  end
  if toggle_changes > 0 then write_toggles(stamp) end
end

return { clear = clear, record_count = record_count, record_toggle = record_toggle, prepare = prepare, write = write }
