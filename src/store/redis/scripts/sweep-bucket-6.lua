#!lua flags=allow-oom
-- What nobody's operation does: announces what is due, renews the gateway's lease, takes back the shares of gateways
-- whose lease has run out, and removes marks that are no longer looked at. A bounded part at a time.
--
-- KEYS[1]  tc:{b}        the bucket's hash; derived from it: chunks of posts and marks, shares of other gateways
-- KEYS[2]  tc:{b}:l      viewers of posts, summed over the gateways
-- KEYS[3]  tc:{b}:t      when posts may be announced again
-- KEYS[4]  tc:{b}:d      posts that are due to be announced
-- KEYS[5]  tc:{b}:w      leases of gateways, by the time when they run out
-- KEYS[6]  tc:{b}:w:{g}  the gateway's shares
-- ARGV[1]  run id of the server
-- ARGV[2]  least ms between two announcements of a post
-- ARGV[3]  number of metrics
-- ARGV[4]  the gateway
-- ARGV[5]  ms of a lease
-- Returns  {ms until something is due (-1: nothing), number of posts of which the gateway has a share}
-- include post-record
-- include publish
local POSTS_A_TURN, MARK_CHUNKS_A_TURN = 300, 100
local live, pace, due, leases, shares = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local interval, metrics, gateway, lease = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
for _, key in ipairs(KEYS) do touch(key) end
all_here()
-- What is only looked at below: a key of a wrong type is found here, before anything is written.
call('HLEN', live)
call('ZCARD', pace)
call('ZCARD', due)
local now = now_ms()

if call('EXISTS', shares) == 1 then
  call('ZADD', leases, now + lease, gateway)
else
  call('ZREM', leases, gateway)
end

local gone = call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, 1)[1]
if gone then
  local theirs = bucket .. ':w:' .. gone
  touch(theirs)
  all_here()
  local found = call('HRANDFIELD', theirs, POSTS_A_TURN, 'WITHVALUES')
  for i = 1, #found, 2 do
    if call('HINCRBY', live, found[i], '-' .. found[i + 1]) <= 0 then call('HDEL', live, found[i]) end
    call('HDEL', theirs, found[i])
    call('ZADD', due, 'NX', now, found[i])
  end
  if call('EXISTS', theirs) == 0 then call('ZREM', leases, gone) end
end

local _, chunks, generation = state_of(call('HGET', bucket, 's'))
local list = call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, POSTS_A_TURN)
if #list > 0 then
  local epoch, nonce = unpack(call('HMGET', bucket, 'e', 'o'))
  local count = read_named(list, chunks)
  for place = 1, count do asked[place] = place end
  local watching = look(count, pace)
  all_here()
  call('ZREM', due, unpack(names, 1, count))
  announce(watching, epoch or 0, nonce or 0, pace, due, interval, metrics)
end
call('ZREMRANGEBYSCORE', pace, '-inf', now)

-- Marks of generations before the last two
local oldest = tonumber(call('HGET', bucket, 'q')) or 1
if oldest < generation - 1 then
  local field = 'k' .. oldest
  local old = tonumber(call('HGET', bucket, field)) or 0
  local keys = {}
  for chunk = math.max(0, old - MARK_CHUNKS_A_TURN), old - 1 do keys[#keys + 1] = touch(marks_prefix(oldest) .. chunk) end
  all_here()
  if #keys > 0 then call('UNLINK', unpack(keys)) end
  if old > MARK_CHUNKS_A_TURN then
    call('HSET', bucket, field, old - MARK_CHUNKS_A_TURN)
  else
    call('HDEL', bucket, field)
    call('HSET', bucket, 'q', oldest + 1)
  end
end
return { due_in(due), call('HLEN', shares) }
