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
-- include lib-bucket
-- include lib-announce
local POSTS_A_TURN, MARK_CHUNKS_A_TURN = 300, 100
local live, pace, due, leases, shares = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local interval, metrics, gateway, lease = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
all_here(KEYS)
-- What is only looked at below: a key of a wrong type is found here, before anything is written.
call('HLEN', live)
call('ZCARD', pace)
call('ZCARD', due)
local now = now_ms()

if call('EXISTS', shares) == 1 then
  call('ZADD', leases, whole(now + lease), gateway)
else
  call('ZREM', leases, gateway)
end

local gone = call('ZRANGEBYSCORE', leases, '-inf', whole(now), 'LIMIT', 0, 1)[1]
if gone then
  local theirs = bucket .. ':w:' .. gone
  all_here({ theirs })
  local found = call('HRANDFIELD', theirs, POSTS_A_TURN, 'WITHVALUES')
  for i = 1, #found, 2 do
    if call('HINCRBY', live, found[i], '-' .. found[i + 1]) <= 0 then call('HDEL', live, found[i]) end
    call('HDEL', theirs, found[i])
    call('ZADD', due, 'NX', whole(now), found[i])
  end
  if call('EXISTS', theirs) == 0 then call('ZREM', leases, gone) end
end

local names = call('ZRANGEBYSCORE', due, '-inf', whole(now), 'LIMIT', 0, POSTS_A_TURN)
if #names > 0 then
  local epoch, nonce, chunks = unpack(call('HMGET', bucket, 'e', 'o', 'c'))
  local posts = read_posts(names, tonumber(chunks) or 1)
  call('ZREM', due, unpack(names))
  announce(names, posts, epoch or '0', nonce or '0', live, pace, due, interval, metrics)
end
call('ZREMRANGEBYSCORE', pace, '-inf', whole(now))

-- Marks of generations before the last two
local generation = tonumber(call('HGET', bucket, 'g')) or 1
local oldest = tonumber(call('HGET', bucket, 'q')) or 1
if oldest < generation - 1 then
  local field = 'k' .. oldest
  local chunks = tonumber(call('HGET', bucket, field)) or 0
  local keys = {}
  for chunk = math.max(0, chunks - MARK_CHUNKS_A_TURN), chunks - 1 do keys[#keys + 1] = marks_key(oldest, chunk) end
  all_here(keys)
  if #keys > 0 then call('UNLINK', unpack(keys)) end
  if chunks > MARK_CHUNKS_A_TURN then
    call('HSET', bucket, field, whole(chunks - MARK_CHUNKS_A_TURN))
  else
    call('HDEL', bucket, field)
    call('HSET', bucket, 'q', whole(oldest + 1))
  end
end
return { due_in(due), call('HLEN', shares) }
