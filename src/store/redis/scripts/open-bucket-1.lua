#!lua flags=allow-oom
-- Makes the bucket known to this life of the server: a new life may lack the last commits of the one before, so it
-- counts in a new epoch.
--
-- KEYS[1]  tc:{b}    the bucket's hash
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of the epoch, if a new one begins
-- ARGV[3]  number of the own region, -1 where there are no others
-- Returns  {epoch, nonce}
-- include post-record
-- include incarnation
-- include replication-state
region = tonumber(ARGV[3])
open_bucket()
write_life()
if region >= 0 and regional_changed then write_regions() end
return { epoch, nonce }
