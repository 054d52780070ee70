-- scripts/lib/server-time.lua: wall time of the Redis server.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

return { now_ms = now_ms }
