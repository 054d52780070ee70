#!lua flags=allow-oom
-- Takes how many watch posts at one gateway, as absolute shares under its lease, and sums them up.
--
-- KEYS[1]  tc:{b}        the bucket's hash; derived from it: the chunks of posts
-- KEYS[2]  tc:{b}:l      viewers of posts, summed over the gateways
-- KEYS[3]  tc:{b}:t      when posts may be announced again
-- KEYS[4]  tc:{b}:d      posts that are due to be announced
-- KEYS[5]  tc:{b}:w      leases of gateways, by the time when they run out
-- KEYS[6]  tc:{b}:w:{g}  the gateway's shares
-- ARGV[1]  run id of the server
-- ARGV[2]  least ms between two announcements of a post
-- ARGV[3]  number of metrics
-- ARGV[4]  the gateway
-- ARGV[5]  ms of its lease
-- ARGV[6]  1 if these are all of its shares, and what else it had is over; else 0
-- ARGV[7]  JSON array: a post, its viewers, the next post …
-- Returns  ms until something is due (-1: nothing)
-- include lib-bucket
-- include lib-announce
local live, pace, due, leases, shares = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local interval, metrics, all = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[6] == '1'
local told = cjson.decode(ARGV[7])

local now_there, names = {}, {}
for i = 1, #told, 2 do
  now_there[told[i]] = told[i + 1]
  names[#names + 1] = told[i]
end
all_here(KEYS)
if all then
  for _, name in ipairs(call('HKEYS', shares)) do
    if not now_there[name] then
      now_there[name] = 0
      names[#names + 1] = name
    end
  end
end
local epoch, nonce, chunks = unpack(call('HMGET', bucket, 'e', 'o', 'c'))
local posts = read_posts(names, tonumber(chunks) or 1)

-- What is only looked at below: a key of a wrong type is found here, before anything is written.
call('HLEN', live)
call('ZCARD', pace)
call('ZCARD', due)
call('HLEN', shares)
call('ZADD', leases, whole(now_ms() + tonumber(ARGV[5])), ARGV[4])
local changed = {}
for _, name in ipairs(names) do
  local share, before = now_there[name], tonumber(call('HGET', shares, name) or 0)
  if share ~= before then
    changed[#changed + 1] = name
    -- First what fails if the post before has emptied it while the slot moves.
    if call('HINCRBY', live, name, whole(share - before)) <= 0 then call('HDEL', live, name) end
    if share > 0 then call('HSET', shares, name, whole(share)) else call('HDEL', shares, name) end
  end
end
announce(changed, posts, epoch or '0', nonce or '0', live, pace, due, interval, metrics)
return due_in(due)
