#!lua flags=allow-oom
-- Starts an incarnation of the bucket if the server has another run id: that server may lack the last commits, so counts get a new
-- epoch.
--
-- KEYS[1]  tc:{b}    the bucket's hash
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of an incarnation that starts, a blank, wall time (ms since 1970)
-- ARGV[3]  number of this region, -1 without replication
-- Returns  {epoch, nonce}
-- @include bucket incarnation replication-state
bucket.own_region = tonumber(ARGV[3])
replication_state.open()
incarnation.write()
if bucket.own_region >= 0 and bucket.is_state_changed then replication_state.write() end
return { bucket.epoch, bucket.nonce }
