#!lua flags=no-writes
-- Reads up to where the events of a log are applied to a bucket.
--
-- KEYS[1]  tc:{b}:log_positions
-- ARGV[1]  run id of the server
-- ARGV[2]  name of the log
-- Returns  the position, or 0
return redis.call('HGET', KEYS[1], ARGV[2]) or '0'
