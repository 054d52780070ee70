#!lua
-- Writes down what the data is made with, once; later gateways have to fit. Metrics may only be added at the end, and
-- a region without a name may be given one.
--
-- KEYS[1]  tc:config
-- ARGV[1]  run id of the server
-- ARGV[2]  version of the layout
-- ARGV[3]  number of buckets
-- ARGV[4]  the metrics, e.g. likes:toggle,views:tally
-- ARGV[5]  region
-- ARGV[6]  name of a region that has none
-- Returns  {version of the layout, buckets, metrics, region} as they are written down
local names = { 'layout', 'buckets', 'metrics', 'region' }
for i, name in ipairs(names) do redis.call('HSETNX', KEYS[1], name, ARGV[i + 1]) end
local metrics = redis.call('HGET', KEYS[1], 'metrics')
if string.sub(ARGV[4], 1, #metrics + 1) == metrics .. ',' then redis.call('HSET', KEYS[1], 'metrics', ARGV[4]) end
if redis.call('HGET', KEYS[1], 'region') == ARGV[6] then redis.call('HSET', KEYS[1], 'region', ARGV[5]) end
return redis.call('HMGET', KEYS[1], unpack(names))
