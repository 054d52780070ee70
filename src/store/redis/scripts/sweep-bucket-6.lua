#!lua flags=allow-oom
-- Does what no operation does, a bounded part at a time: publishes posts that are due, renews the gateway's lease, removes the viewers
-- of gateways whose lease has ended, and removes marks that are no longer read.
--
-- KEYS[1]  tc:{b}                the bucket's hash; derived from it: chunks of posts and marks, people, viewers of gateways
-- KEYS[2]  tc:{b}:viewers        viewers of posts over all gateways
-- KEYS[3]  tc:{b}:publish_after  when posts may be published again
-- KEYS[4]  tc:{b}:publish_due    posts that are due to be published
-- KEYS[5]  tc:{b}:gateways       gateways, by the time when their leases end
-- KEYS[6]  tc:{b}:viewers:{g}    the gateway's viewers of posts that count by their number
-- ARGV[1]  run id of the server
-- ARGV[2]  ms between two publications of a post, at least
-- ARGV[3]  number of metrics
-- ARGV[4]  the gateway
-- ARGV[5]  ms of a lease
-- Returns  {ms until there is more to do (-1: nothing is due), number of posts that the gateway has viewers of, number of its people at posts, marks of
--   visits in the generation before the current one}
-- @include bucket keys server-time posts publish viewer-changes
-- @constants FIELD_EPOCH FIELD_NONCE FIELD_SIZES FIELD_OLDEST_MARKS FIELD_OLD_MARKS FIELD_OLDEST_VISIT_MARKS FIELD_OLD_VISIT_MARKS
-- @constants KEY_GATEWAY_PEOPLE KEY_GATEWAY_VIEWERS KEY_MARKS KEY_VISIT_MARKS
local call = redis.call
-- Bounds of one sweep.
local POSTS_MAX, PEOPLE_MAX, MARK_CHUNKS_MAX = 300, 250, 100
local viewers, publish_after, publish_due, gateways, gateway_viewers = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
publish.configure(tonumber(ARGV[2]), tonumber(ARGV[3]))

-- @param has_viewers  whether the gateway has any
local function renew_lease(now, has_viewers)
  if has_viewers then
    call('ZADD', gateways, now + tonumber(ARGV[5]), ARGV[4])
  else
    call('ZREM', gateways, ARGV[4])
  end
end

-- @return whether the gateway has more of them
local function remove_viewers(gateway, now)
  local names = call('HRANDFIELD', keys.track_key(bucket.key .. KEY_GATEWAY_VIEWERS .. gateway), POSTS_MAX)
  local people = call('SRANDMEMBER', bucket.key .. KEY_GATEWAY_PEOPLE .. gateway, PEOPLE_MAX)
  local numbers, due = {}, { publish_due, 'NX' }
  for i = 1, #names do numbers[i] = 0 end
  local _, after = viewer_changes.plan(gateway, names, numbers, {}, people)
  keys.assert_slot_local()
  viewer_changes.write()
  for _, post in ipairs(viewer_changes.changed) do
    due[#due + 1], due[#due + 2] = now, post
  end
  if #due > 2 then call('ZADD', unpack(due)) end
  local has_more = after.posts + after.people > 0
  if not has_more then call('ZREM', gateways, gateway) end
  return has_more
end

local function publish_due_posts(now)
  local list = call('ZRANGEBYSCORE', publish_due, '-inf', now, 'LIMIT', 0, POSTS_MAX)
  if #list == 0 then return end
  local epoch, nonce = unpack(call('HMGET', bucket.key, FIELD_EPOCH, FIELD_NONCE))
  bucket.epoch, bucket.nonce = tonumber(epoch) or 0, tonumber(nonce) or 0
  local count = posts.read_named(list)
  for i = 1, count do posts.to_publish[i] = i end
  local watched_count = publish.filter_watched(count, publish_after)
  keys.assert_slot_local()
  call('ZREM', publish_due, unpack(posts.names, 1, count))
  publish.publish_watched(watched_count, publish_after, publish_due)
end

-- Removes marks of a generation before the previous one.
-- @param generation    the number of the current one
-- @param oldest_field  has the number of the oldest one whose marks are not all removed
-- @param old_field     followed by a generation, has the number of its chunks
local function remove_old_marks(generation, key_name, oldest_field, old_field)
  local oldest = tonumber(call('HGET', bucket.key, oldest_field)) or 1
  if oldest >= generation - 1 then return end
  local field = old_field .. oldest
  local left = tonumber(call('HGET', bucket.key, field)) or 0
  local old_keys = {}
  for chunk = math.max(0, left - MARK_CHUNKS_MAX), left - 1 do
    old_keys[#old_keys + 1] = keys.track_key(bucket.key .. key_name .. oldest .. ':' .. chunk)
  end
  keys.assert_slot_local()
  if #old_keys > 0 then call('UNLINK', unpack(old_keys)) end
  if left > MARK_CHUNKS_MAX then
    call('HSET', bucket.key, field, left - MARK_CHUNKS_MAX)
  else
    call('HDEL', bucket.key, field)
    call('HSET', bucket.key, oldest_field, oldest + 1)
  end
end

for _, key in ipairs(KEYS) do keys.track_key(key) end
keys.assert_slot_local()
-- Reads of keys that are only written below: a key of a wrong type fails here, before anything is written.
call('HLEN', viewers)
call('ZCARD', publish_after)
call('ZCARD', publish_due)
local now = server_time.now_ms()
local post_count, people_count = call('HLEN', gateway_viewers), call('SCARD', bucket.key .. KEY_GATEWAY_PEOPLE .. ARGV[4])
renew_lease(now, post_count + people_count > 0)
local ended = call('ZRANGEBYSCORE', gateways, '-inf', now, 'LIMIT', 0, 2)
local has_more = #ended > 0 and (remove_viewers(ended[1], now) or #ended > 1)
bucket.set_sizes(call('HGET', bucket.key, FIELD_SIZES))
publish_due_posts(now)
call('ZREMRANGEBYSCORE', publish_after, '-inf', now)
remove_old_marks(bucket.session_marks.number, KEY_MARKS, FIELD_OLDEST_MARKS, FIELD_OLD_MARKS)
bucket.read_visit_marks()
remove_old_marks(bucket.visit_marks.number, KEY_VISIT_MARKS, FIELD_OLDEST_VISIT_MARKS, FIELD_OLD_VISIT_MARKS)
return { has_more and 0 or publish.next_due_ms(publish_due), post_count, people_count, bucket.visit_marks.previous_count }
