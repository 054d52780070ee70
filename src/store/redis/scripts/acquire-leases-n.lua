#!lua flags=allow-oom
-- Takes buckets for one gateway to ship: those that it has a lease of, and those that nobody has. Their clocks go forward to
-- the wall time.
--
-- KEYS[i]  tc:{b}    the bucket's hash
-- ARGV[1]  run id of the server
-- ARGV[2]  for a life that begins: its nonce, a blank, and the wall time (ms since 1970)
-- ARGV[3]  number of the own region
-- ARGV[4]  the gateway
-- ARGV[5]  ms of a lease
-- ARGV[6]  wall time, ms since 1970
-- Returns  for each bucket 1 if the gateway has its lease, else 0
-- include post-record
-- include incarnation
-- include replication-state
region = tonumber(ARGV[3])
local gateway, lease, wall_ms = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local answers = {}
for i, key in ipairs(KEYS) do
  bucket = key
  local now, taken = now_ms(), call('HGET', bucket, 'j')
  local holder, ends = '', 0
  if taken then holder, ends = cmsgpack.unpack(taken) end
  answers[i] = 0
  -- One that ends later than any that begins now was taken while the server's clock was ahead.
  if holder == gateway or ends <= now or ends > now + lease then
    open_bucket()
    saw(stamp_of(wall_ms))
    call('HSET', bucket, 'j', pack(gateway, now + lease))
    write_life()
    write_regions()
    answers[i] = 1
  end
end
return answers
