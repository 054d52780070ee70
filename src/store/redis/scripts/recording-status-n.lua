#!lua flags=no-writes
-- Reads which buckets record for copies in other systems which posts change.
--
-- KEYS[i]  tc:{b}    the bucket's hash
-- ARGV[1]  run id of the server
-- Returns  for each bucket 1 if it records, else 0
-- @constants FIELD_CHANGED_POSTS
local replies = {}
for i, key in ipairs(KEYS) do replies[i] = redis.call('HEXISTS', key, FIELD_CHANGED_POSTS) end
return replies
