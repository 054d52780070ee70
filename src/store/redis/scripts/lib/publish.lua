-- scripts/lib/publish.lua: publishes counts of posts to the gateways that watch them: at most once an interval a post, for the changes
-- of all gateways together. A post that changes sooner becomes due. The next change after the interval publishes it, or a sweep.
--
--     changes    c1 c2   c3        c4
--     published  c1 ├────────┤c3   c4 ├────────┤      ├──┤: the interval. c3 became due, and its gateway's timer published it
-- @needs bucket posts post-record server-time
-- @constants VALUES_AT_ONCE
-- @constants KEY_COUNTS_CHANNEL
local call, unpack, min, max = redis.call, unpack, math.min, math.max
local UPDATED_AT, VERSION, compute_total = post_record.UPDATED_AT, post_record.VERSION, post_record.compute_total
local names, records, viewers, to_publish = posts.names, posts.records, posts.viewers, posts.to_publish

local interval_ms, metrics
-- Indices of posts that a gateway watches, and when each may be published next (ms).
local watched, allowed_at = {}, {}

local function configure(publish_interval_ms, metric_count)
  interval_ms, metrics = publish_interval_ms, metric_count
end

local function build_message(i)
  local post = records[i]
  local numbers = { string.format('[%.0f,%.0f,%.0f,%.0f,%.0f', bucket.epoch, bucket.nonce, post[VERSION], post[UPDATED_AT], viewers[i]) }
  for metric = 0, metrics - 1 do numbers[metric + 2] = string.format('%.0f', compute_total(post, metric)) end
  return table.concat(numbers, ',') .. ']'
end

-- Finds those of the first `count` posts in `to_publish` that a gateway watches. The others cost nothing more.
-- @param after_key  key of the sorted set of posts by the time when they may be published next
-- @return how many they are
local function filter_watched(count, after_key)
  local found, prefix = 0, bucket.key .. KEY_COUNTS_CHANNEL
  for first = 1, count, VALUES_AT_ONCE do
    local channels, last = {}, min(count, first + VALUES_AT_ONCE - 1)
    for i = first, last do channels[i - first + 1] = prefix .. names[to_publish[i]] end
    local subscribers = call('PUBSUB', 'SHARDNUMSUB', unpack(channels))
    for i = first, last do
      if subscribers[2 * (i - first + 1)] > 0 then
        found = found + 1
        watched[found] = to_publish[i]
      end
    end
  end
  for i = 1, found do allowed_at[i] = tonumber(call('ZSCORE', after_key, names[watched[i]]) or 0) end
  return found
end

-- @param watched_count  as `filter_watched` returned it
-- @param due_key        key of the sorted set of posts by the time when they are due
local function publish_watched(watched_count, after_key, due_key)
  if watched_count == 0 then return end
  local now = server_time.now_ms()
  for i = 1, watched_count do
    local index = watched[i]
    local name = names[index]
    if allowed_at[i] > now then
      call('ZADD', due_key, 'NX', allowed_at[i], name)
    else
      call('SPUBLISH', bucket.key .. KEY_COUNTS_CHANNEL .. name, build_message(index))
      call('ZADD', after_key, now + interval_ms, name)
      call('ZREM', due_key, name)
    end
  end
end

-- @return ms until a post is due, -1 if none is
local function next_due_ms(due_key)
  local first = call('ZRANGE', due_key, '0', '0', 'WITHSCORES')
  if not first[2] then return -1 end
  return max(0, tonumber(first[2]) - server_time.now_ms())
end

return {
  watched = watched, configure = configure, filter_watched = filter_watched, publish_watched = publish_watched, next_due_ms = next_due_ms,
}
