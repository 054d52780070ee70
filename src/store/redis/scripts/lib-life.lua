-- The life of the bucket at hand. Another one begins when the server is another, for that may lack the last commits.

-- Run id of the server, and the nonce of the epochs that begin
local run, nonce_new = ARGV[1], nil
-- The present life, and whether it begins now
local epoch, nonce, new_life

local function take_life(epoch_known, nonce_known, run_known)
  epoch, nonce, new_life = tonumber(epoch_known), tonumber(nonce_known), run_known ~= run
  if new_life then epoch, nonce = (epoch or 0) + 1, nonce_new end
end

local function write_life()
  if new_life then call('HSET', bucket, 'e', epoch, 'o', nonce, 'r', run) end
end
