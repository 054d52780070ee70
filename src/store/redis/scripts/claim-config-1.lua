#!lua
-- Writes down the settings that the data is made with, once; later gateways need settings that fit them. Those that fit may add metrics
-- at the end, and name a region that has no name. One that does not fit changes nothing, because others may be using the data.
--
-- KEYS[1]  tc:config
-- ARGV[1]  run id of the server
-- ARGV[2]  version of the layout
-- ARGV[3]  number of buckets
-- ARGV[4]  actor keys: hash or int64
-- ARGV[5]  metrics, e.g. likes:toggle,views:tally
-- ARGV[6]  region
-- ARGV[7]  name of a region that has none
-- Returns  {version of the layout, buckets, actor keys, metrics, region} as they are written down
local names = { 'layout', 'buckets', 'actor_keys', 'metrics', 'region' }
if redis.call('EXISTS', KEYS[1]) == 0 then
  for i, name in ipairs(names) do redis.call('HSET', KEYS[1], name, ARGV[i + 1]) end
end
local layout, buckets, actor_keys, metrics, region = unpack(redis.call('HMGET', KEYS[1], unpack(names)))
local is_alike = layout == ARGV[2] and buckets == ARGV[3] and actor_keys == ARGV[4]
local fits_metrics = string.sub(ARGV[5] .. ',', 1, #tostring(metrics) + 1) == tostring(metrics) .. ','
local fits_region = region == ARGV[6] or region == ARGV[7]
if is_alike and fits_metrics and fits_region then redis.call('HSET', KEYS[1], 'metrics', ARGV[5], 'region', ARGV[6]) end
return redis.call('HMGET', KEYS[1], unpack(names))
