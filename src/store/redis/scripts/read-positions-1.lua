#!lua flags=no-writes
-- Reads the positions of a copy of the counts.
--
-- KEYS[1]  tc:positions:name
-- ARGV[1]  run id of the server
-- Returns  {a bucket, its position, the next bucket …}
return redis.call('HGETALL', KEYS[1])
