-- scripts/lib/build-homes.lua: what a region sends of the homes of a post's metrics: see `build` in home-exchange.ts.
-- @needs bucket milestones milestone-records homes
local pack, unpack, min = cmsgpack.pack, unpack, math.min
local REGION = milestone_records.REGION

-- @param all  whether also what others have confirmed
-- @return the confirmations that are sent, packed one after the other, and their number
local function pack_confirmations(state, all)
  local packed, count = {}, 0
  for _, one in ipairs(state.confirmations) do
    local region, _, _, home_region, number, mode, stamp = unpack(one)
    if region ~= homes.own_region() then
      if all then packed[#packed + 1], count = pack(unpack(one)), count + 1 end
    -- Counts that come back from other regions would be counted after it.
    elseif bucket.is_backfilling == 0 then
      count = count + 1
      packed[#packed + 1] = pack(region, bucket.epoch, bucket.nonce, home_region, number, mode, min(stamp, bucket.clock))
    end
  end
  return table.concat(packed), count
end

-- @param record_count  how many records the metric has
local function pack_records(name, metric, record_count)
  if record_count == 0 then return '' end
  local packed = {}
  milestone_records.each(milestone_records.read(name, metric), function(record)
    if record[REGION] == '' then record[REGION] = homes.own_region() end
    packed[#packed + 1] = pack(unpack(record))
  end)
  return table.concat(packed)
end

-- @param index  what the home is sent with
-- @param name   of the post, whose homes were read
-- @return for each home, packed: index, metric, region, number, mode, number of confirmations, these, number of records, these; how many
--         they are
local function pack_homes(index, name, by_metric, all)
  milestone_records.create()
  local packed, count, armed = {}, 0, milestones.unpack_states(milestones.read_entry(name))
  for metric, state in pairs(by_metric) do
    if state.region ~= '' then
      local confirmations, confirmation_count = pack_confirmations(state, all)
      local record_count = armed[metric] and armed[metric].record_count or 0
      packed[#packed + 1] = pack(index, metric, state.region, state.number, state.mode, confirmation_count)
        .. confirmations .. pack(record_count) .. pack_records(name, metric, record_count)
      count = count + 1
    end
  end
  return table.concat(packed), count
end

return { pack_homes = pack_homes }
