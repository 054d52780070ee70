#!lua flags=allow-oom
-- Stops recording which posts change, and removes what was recorded.
--
-- KEYS[i]  tc:{b}    the bucket's hash; derived from it: changed posts
-- ARGV[1]  run id of the server
-- ARGV[2]  1 if slots may move (a cluster), else 0
-- Returns  number of buckets that recorded
-- @include bucket changed-posts
-- @constants FIELD_CHANGED_POSTS
bucket.slots_may_move = ARGV[2] == '1'
local stopped_count = 0
for _, key in ipairs(KEYS) do
  bucket.reset(key)
  changed_posts.open(redis.call('HGET', key, FIELD_CHANGED_POSTS))
  if bucket.is_recording then
    changed_posts.stop()
    stopped_count = stopped_count + 1
  end
end
return stopped_count
