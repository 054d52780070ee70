-- What is here of other regions: field y of the bucket's hash.

-- What is here of other regions, and the newest life that was heard of; by their names.
local function unpack_known(packed)
  local known = {}
  if not packed then return known end
  local list = { cmsgpack.unpack(packed) }
  for i = 1, #list, 7 do
    known[list[i]] = {
      epoch = list[i + 1], nonce = list[i + 2], up_to = list[i + 3], confirmed = list[i + 4],
      heard_epoch = list[i + 5], heard_nonce = list[i + 6],
    }
  end
  return known
end

local function known_of(known, name)
  return known[name] or { epoch = 0, nonce = 0, up_to = 0, confirmed = 0, heard_epoch = 0, heard_nonce = 0 }
end

-- Whether another region can be counted for: see replication-state.ts.
local REGIONS_MAX = 32
local function has_room_for(known, name)
  local heard_of = 0
  for other, of in pairs(known) do
    if other == name and of.heard_epoch > 0 then return true end
    if of.heard_epoch > 0 then heard_of = heard_of + 1 end
  end
  return heard_of < REGIONS_MAX
end

-- A life of the region was heard of. @return whether that is news
local function hear(known, name, epoch_told, nonce_told)
  local of = known_of(known, name)
  if epoch_told <= of.heard_epoch then return false end
  of.heard_epoch, of.heard_nonce = epoch_told, nonce_told
  -- It may have forgotten that it has told all, and has heard more since from lives that are over.
  unpack_state()
  local left = {}
  for one in string.gmatch(told_by, '[^,]+') do
    if one ~= name then left[#left + 1] = one end
  end
  told_by, told_at, regional_changed = table.concat(left, ','), 0, true
  known[name] = of
  return true
end

local function write_known(known)
  local list = {}
  for name, of in pairs(known) do
    local last = #list
    list[last + 1], list[last + 2], list[last + 3], list[last + 4], list[last + 5] = name, of.epoch, of.nonce, of.up_to, of.confirmed
    list[last + 6], list[last + 7] = of.heard_epoch, of.heard_nonce
  end
  call('HSET', bucket, 'y', pack(unpack(list)))
end
