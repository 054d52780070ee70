-- scripts/lib/provisional-milestones.lua: records of milestones that copies do not get yet, because a failover may lose them. While changed
-- posts are recorded, every other record is final.
-- @needs bucket keys server-time milestone-records
-- @constants VALUES_AT_ONCE MILESTONE_FINAL_MS KEY_MILESTONE_RECORDS KEY_PROVISIONAL_MILESTONES
local call, format, min, unpack = redis.call, string.format, math.min, unpack
local N, RECORDED_AT = milestone_records.N, milestone_records.RECORDED_AT

-- Reads those of the bucket by the clock of this server, because nothing recorded them.
-- @return time of the commit by the server, `post metric #n`, the next time …
local function read_all()
  local list, last = {}, 0
  local final_up_to = server_time.now_ms() - MILESTONE_FINAL_MS
  local stored = call('HGETALL', keys.track_key(bucket.key .. KEY_MILESTONE_RECORDS))
  for i = 1, #stored, 2 do
    milestone_records.each(stored[i + 1], function(record)
      if record[RECORDED_AT] > final_up_to then
        list[last + 1], list[last + 2] = record[RECORDED_AT], format('%s #%.0f', stored[i], record[N])
        last = last + 2
      end
    end)
  end
  return list
end

-- @param list  as `read_all` returned it
local function write(list)
  for first = 1, #list, 2 * VALUES_AT_ONCE do
    call('ZADD', bucket.key .. KEY_PROVISIONAL_MILESTONES, unpack(list, first, min(first + 2 * VALUES_AT_ONCE - 1, #list)))
  end
end

-- @return which of the bucket they are, as keys
local function read_names(is_recording)
  local names = {}
  local list = is_recording and call('ZRANGE', keys.track_key(bucket.key .. KEY_PROVISIONAL_MILESTONES), 0, -1) or read_all()
  for _, entry in ipairs(list) do names[entry] = true end
  return names
end

return { read_all = read_all, write = write, read_names = read_names }
