-- scripts/lib/version-vector.lua: what this region has of other regions, and the latest incarnation of each: the field `version_vector`
-- of the bucket's hash.
-- @needs bucket replication-state
-- @constants REGIONS_MAX FIELD_VERSION_VECTOR
local pack, unpack = cmsgpack.pack, unpack

-- @return entries by region
local function unpack_vector(packed)
  local vector = {}
  if not packed then return vector end
  local list = { cmsgpack.unpack(packed) }
  for i = 1, #list, 7 do
    vector[list[i]] = {
      epoch = list[i + 1], nonce = list[i + 2], up_to = list[i + 3], acked_up_to = list[i + 4],
      latest_epoch = list[i + 5], latest_nonce = list[i + 6],
    }
  end
  return vector
end

local function entry_for(vector, region)
  return vector[region] or { epoch = 0, nonce = 0, up_to = 0, acked_up_to = 0, latest_epoch = 0, latest_nonce = 0 }
end

-- Whether counts of another region can be kept: see replication-state.ts.
local function has_room_for(vector, region)
  local regions = 0
  for other, entry in pairs(vector) do
    if other == region and entry.latest_epoch > 0 then return true end
    if entry.latest_epoch > 0 then regions = regions + 1 end
  end
  return regions < REGIONS_MAX
end

-- @return whether the region's latest incarnation has changed
local function learn_incarnation(vector, region, epoch, nonce)
  local entry = entry_for(vector, region)
  if epoch <= entry.latest_epoch then return false end
  entry.latest_epoch, entry.latest_nonce = epoch, nonce
  -- The new incarnation may have forgotten that it has sent a full sync, and may have received more since.
  replication_state.unpack_state()
  local others = {}
  for one in string.gmatch(bucket.synced_from, '[^,]+') do
    if one ~= region then others[#others + 1] = one end
  end
  bucket.synced_from, bucket.synced_at_stamp, bucket.is_state_changed = table.concat(others, ','), 0, true
  vector[region] = entry
  return true
end

local function write(vector)
  local list = {}
  for region, entry in pairs(vector) do
    local last = #list
    list[last + 1], list[last + 2], list[last + 3], list[last + 4] = region, entry.epoch, entry.nonce, entry.up_to
    list[last + 5], list[last + 6], list[last + 7] = entry.acked_up_to, entry.latest_epoch, entry.latest_nonce
  end
  redis.call('HSET', bucket.key, FIELD_VERSION_VECTOR, pack(unpack(list)))
end

return {
  unpack_vector = unpack_vector, entry_for = entry_for, has_room_for = has_room_for, learn_incarnation = learn_incarnation, write = write,
}
