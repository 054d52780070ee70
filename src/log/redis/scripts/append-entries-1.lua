#!lua
-- Appends the entries of requests, those of a request all or none.
--
-- KEYS[1]  tc:{log}
-- ARGV[1]  run id of the server
-- ARGV[2]  name of a new log
-- ARGV[3]  events that the log holds at most
-- ARGV[3 + i]  of each request: how many entries; of each entry: its partition, number of events, payload
-- Returns  for each request '', 'full', or an error of Redis
-- @include event-log
-- @constants OFFSETS_PER_INCARNATION
local call, pcall, match = redis.call, redis.pcall, string.match
local key, events_max = KEYS[1], tonumber(ARGV[3])
event_log.open(key, ARGV[2])
local incarnation = event_log.current_incarnation(key, ARGV[1])
local events = tonumber(call('HGET', key, 'events'))
local next_id, last_n = incarnation .. '-*', 0
-- Events ever appended to partitions, by partition.
local totals = {}

local function total_of(partition)
  local total = totals[partition]
  if not total then
    total = tonumber(call('HGET', key, 'appended:' .. partition) or 0)
    totals[partition] = total
  end
  return total
end

local function sum_events(first, last)
  local sum = 0
  for at = first, last, 3 do sum = sum + ARGV[at + 1] end
  return sum
end

-- Removes the entries of a request of which one could not be added.
local function undo(first, ids)
  for i, id in ipairs(ids) do
    local at = first + 3 * (i - 1)
    call('XDEL', event_log.stream_of(key, ARGV[at]), id)
    totals[ARGV[at]] = totals[ARGV[at]] - ARGV[at + 1]
  end
end

-- @return '', or the error of Redis
local function append(first, last)
  local ids = {}
  for at = first, last, 3 do
    local partition, count, payload = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local total = total_of(partition) + count
    local id = pcall('XADD', event_log.stream_of(key, partition), next_id, 'events', count, 'total', total, 'payload', payload)
    if type(id) == 'table' then
      undo(first, ids)
      return id.err
    end
    ids[#ids + 1], totals[partition] = id, total
    last_n = math.max(last_n, match(id, '%d+$'))
  end
  return ''
end

local replies, at = {}, 4
while at <= #ARGV do
  local first, last = at + 1, at + 3 * ARGV[at]
  local sum = sum_events(first, last)
  if events + sum > events_max then
    replies[#replies + 1] = 'full'
  else
    local failure = append(first, last)
    if failure == '' then events = events + sum end
    replies[#replies + 1] = failure
  end
  at = last + 1
end

local fields = { 'events', events }
for partition, total in pairs(totals) do
  fields[#fields + 1], fields[#fields + 2] = 'appended:' .. partition, total
end
call('HSET', key, unpack(fields))
-- The next append begins another incarnation, long before the offsets of this one are used up.
if last_n > OFFSETS_PER_INCARNATION / 2 then call('HDEL', key, 'history') end
return replies
