#!lua flags=allow-oom
-- Acquires or renews the lease of a duty, which one gateway of the deployment has at a time.
--
-- KEYS[1]  tc:leases
-- ARGV[1]  run id of the server
-- ARGV[2]  the duty
-- ARGV[3]  the gateway
-- ARGV[4]  ms of a lease
-- Returns  1 if the gateway has the lease, else 0
-- @include lease
return lease.acquire(KEYS[1], ARGV[2], ARGV[3], tonumber(ARGV[4])) and 1 or 0
