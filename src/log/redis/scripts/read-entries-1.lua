#!lua flags=allow-oom
-- Reads the entries of partitions, as many as take some milliseconds: partition by partition, at least some of the first one.
--
-- KEYS[1]  tc:{log}
-- ARGV[1]  run id of the server
-- ARGV[2]  name of a new log
-- ARGV[3]  entries at most, about
-- ARGV[4]  bytes of payload at most, about
-- ARGV[4 + i]  of each partition: its number, after which id, how many events at most, about
-- Returns  name of the log; of each partition that was read: the id up to which it is trimmed, events after these entries, and
--          for each entry its id, number of events and payload
-- @include event-log
local call = redis.call
local key, entries_left, bytes_left = KEYS[1], tonumber(ARGV[3]), tonumber(ARGV[4])
-- Few, because an entry may be large.
local ENTRIES_AT_ONCE = 10
local incarnation = tonumber(call('HGET', key, 'incarnation') or 0)

local function count_left(partition, last)
  if not last then return 0 end
  -- Fields are in the order in which they were appended.
  return call('HGET', key, 'appended:' .. partition) - last[2][4]
end

local function read_partition(partition, after, events_max)
  local stream, values, events, last = event_log.stream_of(key, partition), {}, 0, nil
  repeat
    local found = call('XRANGE', stream, '(' .. after, '+', 'COUNT', ENTRIES_AT_ONCE)
    for i = 1, #found do
      last = found[i]
      event_log.check_entry(stream, last, incarnation)
      local count, payload = last[2][2], last[2][6]
      local size = #values
      values[size + 1], values[size + 2], values[size + 3] = last[1], count, payload
      events, entries_left, bytes_left = events + count, entries_left - 1, bytes_left - #payload
      if events >= events_max then break end
    end
    after = last and last[1]
  until #found < ENTRIES_AT_ONCE or events >= events_max or entries_left <= 0 or bytes_left <= 0
  return { call('HGET', key, 'trimmed:' .. partition) or '0-0', count_left(partition, last), values }
end

local reply = { event_log.open(key, ARGV[2]) }
for i = 5, #ARGV, 3 do
  if entries_left <= 0 or bytes_left <= 0 then break end
  reply[#reply + 1] = read_partition(ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]))
end
return reply
