-- scripts/lib/lease.lua: leases: one gateway at a time holds one, until it stops renewing it.
-- @needs server-time
local call = redis.call

-- Acquires or renews a lease, which is a field of a hash.
-- @return whether the gateway has it now
local function acquire(key, field, gateway, lease_ms)
  local now, lease = server_time.now_ms(), call('HGET', key, field)
  local holder, ends = '', 0
  if lease then holder, ends = cmsgpack.unpack(lease) end
  -- A lease that ends later than any that begins now was acquired while the server's clock was ahead.
  if holder ~= gateway and ends > now and ends <= now + lease_ms then return false end
  call('HSET', key, field, cmsgpack.pack(gateway, now + lease_ms))
  return true
end

return { acquire = acquire }
