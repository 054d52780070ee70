#!lua
-- Keeps the secret of a day, unless there is one.
--
-- KEYS[1]  tc:visitor_secret:day
-- ARGV[1]  run id of the server
-- ARGV[2]  secret
-- ARGV[3]  when it is forgotten, ms since 1970
-- Returns  the secret that is kept
return redis.call('SET', KEYS[1], ARGV[2], 'NX', 'GET', 'PXAT', ARGV[3]) or ARGV[2]
