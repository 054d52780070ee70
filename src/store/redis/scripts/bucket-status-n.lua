#!lua flags=allow-oom
-- Reads the replication status of buckets.
--
-- KEYS[i]  tc:{b}    the bucket's hash
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of an incarnation that starts, a blank, wall time (ms since 1970)
-- ARGV[3]  number of this region
-- Returns  for each bucket msgpack values:
--            epoch, nonce, clock, startedAtStamp, recoveredUpTo, ackedUpTo, stableStamp
--            1 if it is backfilling, else 0
--            names of the regions that have fully synced it, with commas between them
--            number of predecessors, for each: epoch, nonce
-- @include bucket incarnation replication-state
bucket.own_region = tonumber(ARGV[3])
local replies = {}
for i, key in ipairs(KEYS) do
  bucket.reset(key)
  replication_state.open()
  incarnation.write()
  if bucket.is_state_changed then replication_state.write() end
  local predecessors = bucket.predecessors
  replies[i] = cmsgpack.pack(bucket.epoch, bucket.nonce, bucket.clock, bucket.started_at_stamp, bucket.recovered_up_to,
    bucket.acked_up_to, bucket.stable_stamp, bucket.is_backfilling, bucket.synced_from, #predecessors / 2, unpack(predecessors))
end
return replies
