-- scripts/lib/incarnation.lua: the incarnation of the bucket. A new one starts when the server has another run id, because that server
-- may lack the last commits.
-- @needs bucket
-- @constants FIELD_EPOCH FIELD_NONCE FIELD_RUN_ID
-- Run id of the server.
local server_run_id = ARGV[1]

-- The nonce of an incarnation that starts, and the wall time (ms): the gateway's, which is guarded against jumps. They are parsed only
-- when they are needed, which is rare.
local function new_values()
  local nonce, wall_ms = string.match(ARGV[2], '^(%d+) (%d+)$')
  return tonumber(nonce), tonumber(wall_ms)
end

-- @param epoch, nonce, run_id  fields of the bucket's hash
local function set(epoch, nonce, run_id)
  if run_id == server_run_id then
    bucket.epoch, bucket.nonce, bucket.is_new_incarnation = tonumber(epoch), tonumber(nonce), false
  else
    bucket.epoch, bucket.nonce, bucket.is_new_incarnation = (tonumber(epoch) or 0) + 1, (new_values()), true
  end
end

local function write()
  if not bucket.is_new_incarnation then return end
  redis.call('HSET', bucket.key, FIELD_EPOCH, bucket.epoch, FIELD_NONCE, bucket.nonce, FIELD_RUN_ID, server_run_id)
end

return { new_values = new_values, set = set, write = write }
