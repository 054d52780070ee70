#!lua flags=no-writes
-- Reads posts of a bucket, and which of their toggles an actor has on.
--
-- KEYS[1]  tc:{b}          the bucket's hash; derived from it: chunks of posts and members
-- KEYS[2]  tc:{b}:viewers  viewers of posts
-- ARGV[1]  run id of the server
-- ARGV[2]  kinds of the metrics, a letter each: s (with a set of actors) or c (a count)
-- ARGV[3]  the actor's key in decimal, or empty
-- ARGV[4]  the posts, JSON array
-- Returns  {1 if the bucket has the server's run id else 0, epoch, nonce,
--           for each post: version, ms of its last change, viewers, bits of toggles that are on, total of each metric}
-- @include bucket keys post-record posts members
-- @constants COUNT_MAX KIND_WITH_MEMBERS TAG_MEMBERS TAGS_PER_METRIC FIELD_EPOCH FIELD_NONCE FIELD_RUN_ID FIELD_SIZES
local call, sub = redis.call, string.sub
local kinds, actor = ARGV[2], ARGV[3]
local metrics = #kinds
local epoch, nonce, run_id, sizes = unpack(call('HMGET', bucket.key, FIELD_EPOCH, FIELD_NONCE, FIELD_RUN_ID, FIELD_SIZES))
bucket.set_sizes(sizes)
local count = posts.read_named(cjson.decode(ARGV[4]))

local function read_toggles(i)
  local bits, post = 0, posts.records[i]
  for metric = 0, metrics - 1 do
    if sub(kinds, metric + 1, metric + 1) == KIND_WITH_MEMBERS and post_record.get_field(post, TAGS_PER_METRIC * metric + TAG_MEMBERS) > 0 then
      local key = keys.track_key(members.chunk_key(i, metric, actor))
      if call('SISMEMBER', key, actor) == 1 then bits = bits + 2 ^ metric end
    end
  end
  return bits
end

-- ioredis parses an integer digit by digit as n * 10 + code - 48, which rounds the last ones below 2^53: these are texts.
local function as_reply(number)
  if number > COUNT_MAX - 100 then return string.format('%.0f', number) end
  return number
end

local reply, last = { run_id == ARGV[1] and 1 or 0, tonumber(epoch) or 0, tonumber(nonce) or 0 }, 3
for i = 1, count do
  local post = posts.records[i]
  reply[last + 1], reply[last + 2] = post[post_record.VERSION], post[post_record.UPDATED_AT]
  reply[last + 3], reply[last + 4] = tonumber(posts.viewers[i]), actor ~= '' and read_toggles(i) or 0
  for metric = 0, metrics - 1 do reply[last + 5 + metric] = as_reply(post_record.compute_total(post, metric)) end
  last = last + 4 + metrics
end
keys.assert_slot_local()
return reply
