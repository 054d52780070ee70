#!lua flags=no-writes
-- Reads what Redis has of a gateway's viewers, for a gateway that does not know it any more.
--
-- KEYS[1]  tc:{b}:viewers:{g}    the gateway's viewers of posts that count by their number
-- KEYS[2]  tc:{b}:people:{g}     the gateway's people at posts
-- ARGV[1]  run id of the server
-- ARGV[2]  where to continue: the cursor of the last reply, 0 at first
-- ARGV[3]  people that a reply has about
-- Returns  {the cursor, 0 at the end; people, each their key and then the post; with the first reply a post, its viewers, the next post …}
local page = redis.call('SSCAN', KEYS[2], ARGV[2], 'COUNT', ARGV[3])
return { page[1], page[2], ARGV[2] == '0' and redis.call('HGETALL', KEYS[1]) or {} }
