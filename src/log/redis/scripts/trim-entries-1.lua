#!lua flags=allow-oom
-- Removes the oldest entries of a partition, in steps, because each call holds up everything else.
--
-- KEYS[1]  tc:{log}
-- ARGV[1]  run id of the server
-- ARGV[2]  name of the log
-- ARGV[3]  the partition
-- ARGV[4]  id up to which entries are removed
-- ARGV[5]  entries of one step at most
-- Returns  1 if there may be more to remove, else 0; also 0 if the log has another name
-- @include event-log
local call, match, min = redis.call, string.match, math.min
local key, partition, up_to = KEYS[1], ARGV[3], ARGV[4]
if call('HGET', key, 'name') ~= ARGV[2] then return 0 end
local stream = event_log.stream_of(key, partition)

local first = call('XRANGE', stream, '-', up_to, 'COUNT', 1)[1]
if not first then return 0 end
local incarnation, n = match(first[1], '(%d+)-(%d+)')
local step_end, has_more = n + ARGV[5] - 1, 1
local end_incarnation, end_n = match(up_to, '(%d+)-(%d+)')
if incarnation == end_incarnation and step_end >= tonumber(end_n) then
  step_end, has_more = end_n, 0
end

local last = call('XREVRANGE', stream, incarnation .. '-' .. step_end, '-', 'COUNT', 1)[1]
local last_incarnation, last_n = match(last[1], '(%d+)-(%d+)')
local trimmed_events = tonumber(call('HGET', key, 'trimmed_events:' .. partition) or 0)
-- Exact: an approximate trimming keeps entries that are then counted as gone.
call('XTRIM', stream, 'MINID', '=', last_incarnation .. '-' .. last_n + 1)
call('HINCRBY', key, 'events', trimmed_events - last[2][4])
call('HSET', key, 'trimmed:' .. partition, last[1], 'trimmed_events:' .. partition, last[2][4])
return has_more
