#!lua flags=allow-oom
-- Acquires or renews leases of buckets that one gateway replicates, where no other gateway has them. Their clocks advance to the wall
-- time.
--
-- KEYS[i]  tc:{b}    the bucket's hash
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of an incarnation that starts, a blank, wall time (ms since 1970)
-- ARGV[3]  number of this region
-- ARGV[4]  the gateway
-- ARGV[5]  ms of a lease
-- ARGV[6]  wall time, ms since 1970
-- Returns  for each bucket 1 if the gateway has its lease, 2 if homes of the bucket may need settling, too, else 0
-- @include bucket lease incarnation hybrid-clock replication-state
-- @constants FIELD_HOMES FIELD_LEASE
bucket.own_region = tonumber(ARGV[3])
local gateway, lease_ms, wall_ms = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local replies = {}
for i, key in ipairs(KEYS) do
  bucket.reset(key)
  replies[i] = lease.acquire(bucket.key, FIELD_LEASE, gateway, lease_ms) and 1 or 0
  if replies[i] == 1 then
    local _, homes_field = replication_state.open(FIELD_HOMES)
    if homes_field and select(2, cmsgpack.unpack(homes_field)) > 0 then replies[i] = 2 end
    hybrid_clock.receive(hybrid_clock.first_stamp_at(wall_ms))
    incarnation.write()
    replication_state.write()
  end
end
return replies
