-- scripts/lib/milestone-records.lua: reads who reached the milestones of a metric, packed in a field of the hash `milestone-records`.
-- Values of a record: n, key of the actor, key of the session, seq, kind, value, total, version, epoch, time of the batch, time of the
-- commit by the server that decided, 1 if nobody reached it else 0; the region that decided, empty for this one; 1 if that region has
-- found it to be final else 0. The keys are in decimal, and empty for nobody.
-- @needs bucket keys
-- @constants KEY_MILESTONE_RECORDS RECORD_VALUES
local milestone_records = {
  -- Where a record has its values.
  N = 1, SESSION = 3, SEQ = 4, VERSION_AFTER = 8, AT = 10, RECORDED_AT = 11, IS_MISSED = 12, REGION = 13, IS_FINAL = 14,
}
local is_created = false

-- To be called before all functions: see lib/milestones.lua.
function milestone_records.create()
  if is_created then return end
  local call, unpack, unpack_values, N = redis.call, unpack, cmsgpack.unpack, milestone_records.N

  -- Reads the records of a metric of a post, packed, one after the other.
  function milestone_records.read(name, metric)
    return call('HGET', keys.track_key(bucket.key .. KEY_MILESTONE_RECORDS), name .. ' ' .. metric) or ''
  end

  -- @param matches  is called with the values of all records, and where one of them begins, less one
  -- @return whether one matches
  function milestone_records.some(packed, matches)
    local values = packed == '' and {} or { unpack_values(packed) }
    for at = 0, #values - RECORD_VALUES, RECORD_VALUES do
      if matches(values, at) then return true end
    end
    return false
  end

  -- @return the values of the record of `n`, nil if there is none
  function milestone_records.find(packed, n)
    local record
    milestone_records.some(packed, function(values, at)
      if values[at + N] == n then record = { unpack(values, at + 1, at + RECORD_VALUES) } end
      return record
    end)
    return record
  end

  -- @param visit  is called with the values of each record
  function milestone_records.each(packed, visit)
    milestone_records.some(packed, function(values, at) visit({ unpack(values, at + 1, at + RECORD_VALUES) }) end)
  end

  -- Whether the packed records have one of `n`.
  function milestone_records.has(packed, n)
    return milestone_records.some(packed, function(values, at) return values[at + N] == n end)
  end

  is_created = true
end

return milestone_records
