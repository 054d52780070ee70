-- scripts/lib/remote-entries.lua: counter entries of other regions in posts' records. A record names an incarnation by its slot, the
-- index in the field `incarnations` of the bucket's hash. The meaning is that of pn-counter.ts.
-- @needs bucket msgpack post-record
-- @constants INCARNATIONS_MAX FIELD_INCARNATIONS TAG_P TAG_N TAGS_PER_METRIC TAGS_PER_SLOT
local floor, max = math.floor, math.max
local FIRST_FIELD, get_field, set_field = post_record.FIRST_FIELD, post_record.get_field, post_record.set_field
local remove_field = post_record.remove_field
local OLDER, SAME, NEWER, CLASH = 1, 2, 3, 4

-- @return OLDER, SAME, NEWER; or CLASH: two that by mistake took the same epoch
local function compare_incarnations(epoch, nonce, other_epoch, other_nonce)
  if epoch ~= other_epoch then return epoch > other_epoch and NEWER or OLDER end
  return nonce == other_nonce and SAME or CLASH
end

-- Incarnations by slot; whether one was added; slots by the incarnations' names, filled when they are first needed.
local incarnations, has_new, slots

local function name_incarnation(remote)
  return remote.region .. ' ' .. remote.epoch .. ' ' .. remote.nonce
end

local function read_incarnations()
  local packed = redis.call('HGET', bucket.key, FIELD_INCARNATIONS)
  incarnations, has_new, slots = {}, false, nil
  if not packed then return end
  local list = { cmsgpack.unpack(packed) }
  for i = 1, #list, 3 do incarnations[#incarnations + 1] = { region = list[i], epoch = list[i + 1], nonce = list[i + 2] } end
end

local function write_incarnations()
  if not has_new then return end
  local list = {}
  for _, remote in ipairs(incarnations) do
    local last = #list
    list[last + 1], list[last + 2], list[last + 3] = remote.region, remote.epoch, remote.nonce
  end
  redis.call('HSET', bucket.key, FIELD_INCARNATIONS, msgpack.concat_packed(cmsgpack.pack, list, #list))
end

-- The slot of an incarnation. One is added if it has none.
local function ensure_slot(remote)
  if not slots then
    slots = {}
    for slot, other in ipairs(incarnations) do slots[name_incarnation(other)] = slot end
  end
  local name = name_incarnation(remote)
  if slots[name] then return slots[name] end
  if #incarnations >= INCARNATIONS_MAX then
    error('the bucket has ' .. INCARNATIONS_MAX .. ' incarnations of other regions, and no room for one more of ' .. remote.region)
  end
  incarnations[#incarnations + 1], has_new = remote, true
  slots[name] = #incarnations
  return #incarnations
end

-- @return the slot of the region's entry for a metric of the post, nil if it has none
local function find_slot(post, metric, region)
  for i = FIRST_FIELD, #post, 2 do
    local tag = post[i]
    if tag >= TAGS_PER_SLOT and tag % TAGS_PER_SLOT == TAGS_PER_METRIC * metric + TAG_P then
      local slot = floor(tag / TAGS_PER_SLOT)
      if incarnations[slot].region == region then return slot end
    end
  end
end

-- A newer incarnation replaces the entry, the same takes the larger P and N, any other changes nothing.
-- @return whether the post has changed
local function merge_entry(post, metric, remote, p, n)
  local tag, slot = TAGS_PER_METRIC * metric, find_slot(post, metric, remote.region)
  if slot then
    local present = incarnations[slot]
    local order = compare_incarnations(remote.epoch, remote.nonce, present.epoch, present.nonce)
    if order == OLDER or order == CLASH then return false end
    local p_tag, n_tag = TAGS_PER_SLOT * slot + tag + TAG_P, TAGS_PER_SLOT * slot + tag + TAG_N
    if order == SAME then
      local present_p, present_n = get_field(post, p_tag), get_field(post, n_tag)
      if p <= present_p and n <= present_n then return false end
      p, n = max(p, present_p), max(n, present_n)
    end
    remove_field(post, n_tag)
    if order == NEWER then remove_field(post, p_tag) end
  end
  slot = ensure_slot(remote)
  set_field(post, TAGS_PER_SLOT * slot + tag + TAG_P, p)
  if n > 0 then set_field(post, TAGS_PER_SLOT * slot + tag + TAG_N, n) end
  return true
end

return {
  OLDER = OLDER, SAME = SAME, NEWER = NEWER, CLASH = CLASH, compare_incarnations = compare_incarnations,
  read_incarnations = read_incarnations, write_incarnations = write_incarnations, merge_entry = merge_entry,
}
