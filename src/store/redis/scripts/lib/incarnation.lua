-- The life of the current bucket. Another one begins when the server is another, because that may lack the last commits.

-- Run id of the server
local run = ARGV[1]
-- The present life, and whether it begins now
local epoch, nonce, new_life

-- What a life that begins is given. Most calls need none of it.
-- @return its nonce; and the wall time as the gateway has it, which guards it: the server's clock may be set to anything
local function given_to_new_life()
  local nonce_given, wall_ms = string.match(ARGV[2], '^(%d+) (%d+)$')
  return tonumber(nonce_given), tonumber(wall_ms)
end

local function take_life(epoch_known, nonce_known, run_known)
  epoch, nonce, new_life = tonumber(epoch_known), tonumber(nonce_known), run_known ~= run
  if new_life then epoch, nonce = (epoch or 0) + 1, (given_to_new_life()) end
end

local function write_life()
  if new_life then call('HSET', bucket, 'e', epoch, 'o', nonce, 'r', run) end
end
