-- scripts/lib/keys.lua: names of a bucket's keys that have a number in them, as codec/redis-keys.ts explains them, and the check that
-- none of a bucket's keys is on another server.
-- @needs bucket
-- @constants VALUES_AT_ONCE KEY_MEMBERS KEY_REGISTERS
local call, unpack, min = redis.call, unpack, math.min

-- A chunk's key is one of these prefixes and the chunk's number.
local function members_prefix(metric, post)
  return bucket.key .. KEY_MEMBERS .. metric .. ':' .. post .. ':'
end

local function registers_prefix()
  return bucket.key .. KEY_REGISTERS
end

-- Keys of a slot that is moving are on two servers. A key that has moved already looks as if it did not exist, but EXISTS of
-- several keys is rejected then. So a script asks for all keys that it has read before it writes or error_reply.
-- https://redis.io/docs/latest/commands/cluster-setslot/
local function track_key(key)
  local tracked = bucket.tracked
  if tracked then tracked[#tracked + 1] = key end
  return key
end

local function assert_slot_local()
  local tracked = bucket.tracked
  if not tracked then return end
  for first = 1, #tracked, VALUES_AT_ONCE do
    call('EXISTS', bucket.key, unpack(tracked, first, min(first + VALUES_AT_ONCE - 1, #tracked)))
  end
  bucket.tracked = {}
end

return {
  members_prefix = members_prefix,
  registers_prefix = registers_prefix, track_key = track_key, assert_slot_local = assert_slot_local,
}
