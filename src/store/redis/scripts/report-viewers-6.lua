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
-- include post-record
-- include publish
local live, pace, due, leases, shares = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local interval, metrics, all = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[6] == '1'
local told = cjson.decode(ARGV[7])

local now_there, list = {}, {}
for i = 1, #told, 2 do
  now_there[told[i]] = told[i + 1]
  list[#list + 1] = told[i]
end
for _, key in ipairs(KEYS) do touch(key) end
if all then
  for _, name in ipairs(call('HKEYS', shares)) do
    if not now_there[name] then
      now_there[name] = 0
      list[#list + 1] = name
    end
  end
end
local epoch, nonce, state = unpack(call('HMGET', bucket, 'e', 'o', 's'))
local _, chunks = state_of(state)
local count = read_named(list, chunks)

-- What is only looked at below: a key of a wrong type is found here, before anything is written.
call('ZCARD', pace)
call('ZCARD', due)
call('HLEN', shares)
all_here()
call('ZADD', leases, now_ms() + tonumber(ARGV[5]), ARGV[4])
local changed = 0
for place = 1, count do
  local name = names[place]
  local share, before = now_there[name], tonumber(call('HGET', shares, name) or 0)
  if share ~= before then
    changed = changed + 1
    asked[changed] = place
    -- First what fails if the post before has emptied it while the slot moves.
    viewers[place] = call('HINCRBY', live, name, share - before)
    if viewers[place] <= 0 then
      call('HDEL', live, name)
      viewers[place] = 0
    end
    if share > 0 then call('HSET', shares, name, share) else call('HDEL', shares, name) end
  end
end
announce(look(changed, pace), epoch or 0, nonce or 0, pace, due, interval, metrics)
return due_in(due)
