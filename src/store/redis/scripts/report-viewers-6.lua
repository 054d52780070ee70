#!lua flags=allow-oom
-- Takes a gateway's viewers of posts, as absolute numbers under its lease, and sums them up over the gateways.
--
-- KEYS[1]  tc:{b}                the bucket's hash; derived from it: chunks of posts
-- KEYS[2]  tc:{b}:viewers        viewers of posts, summed over the gateways
-- KEYS[3]  tc:{b}:publish_after  when posts may be published again
-- KEYS[4]  tc:{b}:publish_due    posts that are due to be published
-- KEYS[5]  tc:{b}:gateways       gateways, by the time when their leases end
-- KEYS[6]  tc:{b}:viewers:{g}    the gateway's viewers of posts
-- ARGV[1]  run id of the server
-- ARGV[2]  ms between two publications of a post, at least
-- ARGV[3]  number of metrics
-- ARGV[4]  the gateway
-- ARGV[5]  ms of its lease
-- ARGV[6]  1 if the report is full: the gateway has no viewers of other posts; else 0
-- ARGV[7]  JSON array: a post, its viewers, the next post …
-- Returns  ms until a post is due (-1: none is)
-- @include bucket keys server-time posts publish
-- @constants FIELD_EPOCH FIELD_NONCE FIELD_SIZES
local call = redis.call
local summed_viewers, publish_after, publish_due, gateways, gateway_viewers = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local report, is_full = cjson.decode(ARGV[7]), ARGV[6] == '1'
publish.configure(tonumber(ARGV[2]), tonumber(ARGV[3]))

local reported, list = {}, {}
for i = 1, #report, 2 do
  reported[report[i]] = report[i + 1]
  list[#list + 1] = report[i]
end
for _, key in ipairs(KEYS) do keys.track_key(key) end
if is_full then
  for _, name in ipairs(call('HKEYS', gateway_viewers)) do
    if not reported[name] then
      reported[name] = 0
      list[#list + 1] = name
    end
  end
end
local epoch, nonce, sizes = unpack(call('HMGET', bucket.key, FIELD_EPOCH, FIELD_NONCE, FIELD_SIZES))
bucket.epoch, bucket.nonce = tonumber(epoch) or 0, tonumber(nonce) or 0
bucket.set_sizes(sizes)
local count = posts.read_named(list)

-- Reads of keys that are only written below: a key of a wrong type fails here, before anything is written.
call('ZCARD', publish_after)
call('ZCARD', publish_due)
call('HLEN', gateway_viewers)
keys.assert_slot_local()
call('ZADD', gateways, server_time.now_ms() + tonumber(ARGV[5]), ARGV[4])
local changed_count = 0
for i = 1, count do
  local name = posts.names[i]
  local now, before = reported[name], tonumber(call('HGET', gateway_viewers, name) or 0)
  if now ~= before then
    changed_count = changed_count + 1
    posts.to_publish[changed_count] = i
    -- First the command that fails if the post before has emptied the key while the slot moves.
    posts.viewers[i] = call('HINCRBY', summed_viewers, name, now - before)
    if posts.viewers[i] <= 0 then
      call('HDEL', summed_viewers, name)
      posts.viewers[i] = 0
    end
    if now > 0 then call('HSET', gateway_viewers, name, now) else call('HDEL', gateway_viewers, name) end
  end
end
publish.publish_watched(publish.filter_watched(changed_count, publish_after), publish_after, publish_due)
return publish.next_due_ms(publish_due)
