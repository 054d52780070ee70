-- scripts/lib/replication-state.lua: the bucket's replication with other regions; the meaning is that of replication-state.ts and
-- change-feed.ts. Without other regions `own_region` is negative, and nothing of this is read or written.
-- @needs bucket incarnation hybrid-clock
-- @constants VALUES_AT_ONCE FEED_MAX PREDECESSORS_MAX FIELD_EPOCH FIELD_NONCE FIELD_RUN_ID FIELD_SIZES FIELD_CLOCK FIELD_REPLICATION
-- @constants FIELD_LOCAL_LOG_WRITTEN FIELD_LOCAL_LOG_REMOVED FIELD_REMOTE_LOG_WRITTEN FIELD_REMOTE_LOG_REMOVED
-- @constants KEY_CHANGE_FEED
local call, unpack, min, max, pack = redis.call, unpack, math.min, math.max, cmsgpack.pack

-- Another incarnation starts: it needs a full sync from every region of what the ones before may have had.
local function start_incarnation(epoch_before, nonce_before)
  local predecessors = bucket.predecessors
  predecessors[#predecessors + 1] = epoch_before
  predecessors[#predecessors + 1] = nonce_before
  local excess = #predecessors - 2 * PREDECESSORS_MAX
  if excess > 0 then bucket.predecessors = { unpack(predecessors, excess + 1) } end
  if bucket.synced_at_stamp > 0 then bucket.complete_up_to = bucket.clock end
  bucket.synced_from, bucket.synced_at_stamp, bucket.is_state_changed = '', 0, true
end

-- The field `replication`, until something needs more than the clock: most batches do not.
local packed_state

local function unpack_state()
  if not packed_state then return end
  local list = { cmsgpack.unpack(packed_state) }
  bucket.started_at_stamp, bucket.recovered_up_to, bucket.complete_up_to, bucket.stable_stamp, bucket.acked_up_to,
    bucket.dropped_up_to, bucket.synced_at_stamp, bucket.is_backfilling, bucket.synced_from = unpack(list, 1, 9)
  bucket.predecessors, packed_state = { unpack(list, 10) }, nil
end

-- @param clock, packed  the fields `clock` and `replication`
-- @param sizes          the field `sizes`: counts of posts that are there already have no stamps
local function set_state(clock, packed, sizes)
  bucket.is_state_changed, packed_state = not packed, packed
  if not packed then
    bucket.set_sizes(sizes)
    clock = bucket.post_count > 0 and hybrid_clock.first_stamp_at(select(2, incarnation.new_values())) or 0
    bucket.clock, bucket.started_at_stamp, bucket.recovered_up_to, bucket.complete_up_to = clock, clock, clock, clock
    bucket.stable_stamp, bucket.acked_up_to, bucket.dropped_up_to = clock, clock, clock
    bucket.synced_at_stamp, bucket.is_backfilling, bucket.synced_from, bucket.predecessors = 0, 0, '', {}
    return
  end
  bucket.clock = tonumber(clock)
  if not bucket.is_new_incarnation then return end
  unpack_state()
  start_incarnation(0, 0)
  bucket.predecessors = {}
  bucket.recovered_up_to = bucket.clock
  hybrid_clock.receive(hybrid_clock.first_stamp_at(select(2, incarnation.new_values())))
  bucket.started_at_stamp = bucket.clock
end

-- Writes the clock even if it has not changed: so waiting for replicas after this call waits for earlier writes, too.
local function write()
  if bucket.is_state_changed then
    local state = pack(bucket.started_at_stamp, bucket.recovered_up_to, bucket.complete_up_to, bucket.stable_stamp, bucket.acked_up_to,
      bucket.dropped_up_to, bucket.synced_at_stamp, bucket.is_backfilling, bucket.synced_from, unpack(bucket.predecessors))
    call('HSET', bucket.key, FIELD_CLOCK, bucket.clock, FIELD_LOCAL_LOG_WRITTEN, bucket.local_log_written, FIELD_REPLICATION, state)
  else
    call('HSET', bucket.key, FIELD_CLOCK, bucket.clock, FIELD_LOCAL_LOG_WRITTEN, bucket.local_log_written)
  end
  if bucket.are_logs_changed then
    call('HSET', bucket.key, FIELD_LOCAL_LOG_REMOVED, bucket.local_log_removed,
      FIELD_REMOTE_LOG_WRITTEN, bucket.remote_log_written, FIELD_REMOTE_LOG_REMOVED, bucket.remote_log_removed)
  end
end

-- Reads the bucket's incarnation and its clock. @return the field `sizes`, and up to three more fields that the arguments name
local function open_clock(...)
  local fields = call('HMGET', bucket.key, FIELD_EPOCH, FIELD_NONCE, FIELD_RUN_ID, FIELD_SIZES, FIELD_CLOCK, FIELD_REPLICATION,
    FIELD_LOCAL_LOG_WRITTEN, FIELD_LOCAL_LOG_REMOVED, FIELD_REMOTE_LOG_WRITTEN, FIELD_REMOTE_LOG_REMOVED, ...)
  incarnation.set(fields[1], fields[2], fields[3])
  if bucket.own_region >= 0 then set_state(fields[5], fields[6], fields[4]) end
  bucket.local_log_written, bucket.local_log_removed = tonumber(fields[7] or 0), tonumber(fields[8] or 0)
  bucket.remote_log_written, bucket.remote_log_removed = tonumber(fields[9] or 0), tonumber(fields[10] or 0)
  bucket.are_logs_changed = false
  return fields[4], fields[11], fields[12], fields[13]
end

-- The same, with all of the replication state.
local function open(...)
  local sizes, one, another, third = open_clock(...)
  if bucket.own_region >= 0 then unpack_state() end
  return sizes, one, another, third
end

-- Whether the region is one of `synced_from`.
local function is_synced_from(region)
  return string.find(',' .. bucket.synced_from .. ',', ',' .. region .. ',', 1, true) ~= nil
end

-- @param list  stamp as text, entry, the next stamp …; `last`: its length
-- @return how many entries are new
local function add_entries(list, last)
  local added = 0
  for first = 1, last, 2 * VALUES_AT_ONCE do
    added = added + call('ZADD', bucket.key .. KEY_CHANGE_FEED, unpack(list, first, min(first + 2 * VALUES_AT_ONCE - 1, last)))
  end
  return added
end

-- Adds entries to the change feed, besides the local toggle log: posts whose counts have changed, and toggles that are forwarded.
-- @param before  how many entries the feed had
local function add_changes(list, last, before)
  if last == 0 then return end
  local excess = before + add_entries(list, last) - FEED_MAX
  if excess <= 0 then return end
  unpack_state()
  local dropped = tonumber(call('ZRANGE', bucket.key .. KEY_CHANGE_FEED, excess - 1, excess - 1, 'WITHSCORES')[2])
  bucket.dropped_up_to, bucket.is_state_changed = max(bucket.dropped_up_to, dropped), true
  call('ZREMRANGEBYRANK', bucket.key .. KEY_CHANGE_FEED, 0, excess - 1)
end

return {
  start_incarnation = start_incarnation, unpack_state = unpack_state, write = write, open_clock = open_clock, open = open,
  is_synced_from = is_synced_from, add_changes = add_changes,
}
