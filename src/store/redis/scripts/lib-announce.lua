-- Tells the gateways that watch a post of its counts: at most once an interval for a post, whoever changes it.
-- What came sooner is due, and told by the next change after the interval, or by a sweep.
--
--     changes    c1 c2   c3        c4
--     published  c1 ├────────┤c3   c4 ├────────┤      ├──┤: the interval. c3 was due, and its gateway's timer told it

local function message_of(post, epoch, nonce, live, metrics)
  local numbers = { epoch, nonce, whole(post.v), whole(post.at), live or 0 }
  for metric = 0, metrics - 1 do numbers[#numbers + 1] = whole(total(post, metric)) end
  return '[' .. table.concat(numbers, ',') .. ']'
end

-- Those of `names` that somebody watches: the others cost nothing more.
local function watched(names)
  local found = {}
  for first = 1, #names, 1000 do
    local channels = {}
    for i = first, math.min(first + 999, #names) do channels[#channels + 1] = channel_of(names[i]) end
    local counts = call('PUBSUB', 'SHARDNUMSUB', unpack(channels))
    for i = 1, #channels do
      if counts[2 * i] > 0 then found[#found + 1] = names[first + i - 1] end
    end
  end
  return found
end

-- @param pace, due: keys of the sorted sets of posts by the time when they may be, or are to be, published next
local function announce(names, posts, epoch, nonce, live_key, pace, due, interval, metrics)
  local now = now_ms()
  for _, name in ipairs(watched(names)) do
    local free = tonumber(call('ZSCORE', pace, name) or 0)
    if free > now then
      call('ZADD', due, 'NX', whole(free), name)
    else
      local live = call('HGET', live_key, name)
      call('SPUBLISH', channel_of(name), message_of(posts[name], epoch, nonce, live, metrics))
      call('ZADD', pace, whole(now + interval), name)
      call('ZREM', due, name)
    end
  end
end

-- Milliseconds until something is due, -1 if nothing is.
local function due_in(due)
  local first = call('ZRANGE', due, 0, 0, 'WITHSCORES')
  if #first == 0 then return -1 end
  return math.max(0, tonumber(first[2]) - now_ms())
end
