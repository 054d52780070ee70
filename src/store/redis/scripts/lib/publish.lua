-- Tells the gateways that watch a post of its counts: at most once an interval for a post, whoever changes it.
-- What came sooner is due, and told by the next change after the interval, or by a sweep.
--
--     changes    c1 c2   c3        c4
--     published  c1 ├────────┤c3   c4 ├────────┤      ├──┤: the interval. c3 was due, and its gateway's timer told it

-- The current posts that are looked at, by place; those of them that somebody watches; when these may be announced again (ms)
local asked, watched, free_at = {}, {}, {}

local function message_of(place, epoch, nonce, metrics)
  local post = posts[place]
  local numbers = { string.format('[%.0f,%.0f,%.0f,%.0f,%.0f', epoch, nonce, post[VERSION], post[AT], viewers[place]) }
  for metric = 0, metrics - 1 do numbers[metric + 2] = string.format('%.0f', total(post, metric)) end
  return table.concat(numbers, ',') .. ']'
end

-- Who watches the first `count` of `asked`? The others cost nothing more.
-- @param pace  key of the sorted set of posts by the time when they may be published next
-- @return how many are watched
local function look(count, pace)
  local found, prefix = 0, bucket .. ':c:'
  for first = 1, count, AT_ONCE do
    local channels, last = {}, min(count, first + AT_ONCE - 1)
    for i = first, last do channels[i - first + 1] = prefix .. names[asked[i]] end
    local told = call('PUBSUB', 'SHARDNUMSUB', unpack(channels))
    for i = first, last do
      if told[2 * (i - first + 1)] > 0 then
        found = found + 1
        watched[found] = asked[i]
      end
    end
  end
  for i = 1, found do free_at[i] = tonumber(call('ZSCORE', pace, names[watched[i]]) or 0) end
  return found
end

-- @param found       how many are watched
-- @param pace, due   keys of the sorted sets of posts by the time when they may be, or are to be, published next
local function announce(found, epoch, nonce, pace, due, interval, metrics)
  if found == 0 then return end
  local now = now_ms()
  for i = 1, found do
    local place = watched[i]
    local name = names[place]
    if free_at[i] > now then
      call('ZADD', due, 'NX', free_at[i], name)
    else
      call('SPUBLISH', bucket .. ':c:' .. name, message_of(place, epoch, nonce, metrics))
      call('ZADD', pace, now + interval, name)
      call('ZREM', due, name)
    end
  end
end

-- Milliseconds until something is due, -1 if nothing is.
local function due_in(due)
  local first = call('ZRANGE', due, '0', '0', 'WITHSCORES')
  if not first[2] then return -1 end
  return math.max(0, tonumber(first[2]) - now_ms())
end
