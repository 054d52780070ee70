-- scripts/lib/home-changes.lua: opens a bucket whose homes a call about milestones may change, and has other regions get what it changes.
-- Without other regions nothing of this is read or written.
-- @needs bucket keys incarnation hybrid-clock replication-state posts homes
-- @constants FIELD_MILESTONES FIELD_SIZES KEY_CHANGE_FEED
local home_changes = {}
local call = redis.call
local list, feed_length

-- @param stamp  of a change; nil: each has its own
-- @return the field `milestones`, false if the bucket has none
-- @param options  see `homes.configure`
function home_changes.open(region_names, stamp, options)
  list = {}
  homes.configure(region_names, function(index)
    list[#list + 1] = hybrid_clock.stamp_text(stamp and stamp() or hybrid_clock.now(0))
    list[#list + 1] = posts.names[index]
  end, options)
  local sizes, field
  if bucket.own_region < 0 then
    sizes, field = unpack(call('HMGET', bucket.key, FIELD_SIZES, FIELD_MILESTONES))
  else
    sizes, field = replication_state.open(FIELD_MILESTONES)
  end
  bucket.set_sizes(sizes)
  return field
end

-- Has other regions get the post of that index, although its home has not changed.
function home_changes.record(index)
  list[#list + 1], list[#list + 2] = hybrid_clock.stamp_text(hybrid_clock.now(0)), posts.names[index]
end

-- Reads what `write` needs: a call that may fail fails here, before anything is written.
function home_changes.prepare()
  if bucket.own_region < 0 then return end
  if homes.has_any then homes.prepare() end
  if #list > 0 then feed_length = call('ZCARD', keys.track_key(bucket.key .. KEY_CHANGE_FEED)) end
end

function home_changes.write()
  if bucket.own_region < 0 then return end
  if homes.has_any then homes.write() end
  if #list > 0 then replication_state.add_changes(list, #list, feed_length) end
  incarnation.write()
  replication_state.write()
end

return home_changes
