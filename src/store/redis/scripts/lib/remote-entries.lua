-- Lives of other regions, by the slot of their entries in posts' records: field v of the bucket's hash; and which of two lives of a
-- region came later: see pn-counter.ts.

local OLDER, SAME, NEWER, CLASH = 1, 2, 3, 4

local function order_of(epoch_told, nonce_told, epoch_known, nonce_known)
  if epoch_told ~= epoch_known then return epoch_told > epoch_known and NEWER or OLDER end
  return nonce_told == nonce_known and SAME or CLASH
end

-- See pn-counter.ts
local LIVES_MAX = 1000
-- Slots by the names of lives, made by the first that asks
local lives, lives_new, slots

local function name_of(life)
  return life.name .. ' ' .. life.epoch .. ' ' .. life.nonce
end

local function read_lives()
  local packed = call('HGET', bucket, 'v')
  lives, lives_new, slots = {}, false, nil
  if not packed then return end
  local list = { cmsgpack.unpack(packed) }
  for i = 1, #list, 3 do lives[#lives + 1] = { name = list[i], epoch = list[i + 1], nonce = list[i + 2] } end
end

local function write_lives()
  if not lives_new then return end
  local list = {}
  for _, life in ipairs(lives) do
    local last = #list
    list[last + 1], list[last + 2], list[last + 3] = life.name, life.epoch, life.nonce
  end
  call('HSET', bucket, 'v', joined(pack, list, #list))
end

-- The slot of a life, which is given one if it has none.
local function slot_of(told)
  if not slots then
    slots = {}
    for slot, life in ipairs(lives) do slots[name_of(life)] = slot end
  end
  local name = name_of(told)
  if slots[name] then return slots[name] end
  if #lives >= LIVES_MAX then error(LIVES_MAX .. ' lives of other regions are known, and ' .. told.name .. ' is said to have begun another') end
  lives[#lives + 1], lives_new = told, true
  slots[name] = #lives
  return #lives
end

local function remove_part(post, tag)
  local last = #post
  for i = FIRST_PART, last, 2 do
    if post[i] == tag then
      post[i], post[i + 1] = post[last - 1], post[last]
      post[last - 1], post[last] = nil, nil
      return
    end
  end
end

-- The slot of the region's entry for a metric of the post, nil if it has none.
local function slot_in(post, metric, name)
  for i = FIRST_PART, #post, 2 do
    local tag = post[i]
    if tag >= TAGS and tag % TAGS == 4 * metric + P and lives[floor(tag / TAGS)].name == name then return floor(tag / TAGS) end
  end
end

-- A later life replaces, the same takes the larger P and N, anything else changes nothing.
-- @return whether something has changed
local function merge_entry(post, metric, told, p, n)
  local tag, slot = 4 * metric, slot_in(post, metric, told.name)
  if slot then
    local known = lives[slot]
    local order = order_of(told.epoch, told.nonce, known.epoch, known.nonce)
    if order == OLDER or order == CLASH then return false end
    local p_tag, n_tag = TAGS * slot + tag + P, TAGS * slot + tag + N
    if order == SAME then
      local p_known, n_known = part(post, p_tag), part(post, n_tag)
      if p <= p_known and n <= n_known then return false end
      p, n = math.max(p, p_known), math.max(n, n_known)
    end
    remove_part(post, n_tag)
    if order == NEWER then remove_part(post, p_tag) end
  end
  slot = slot_of(told)
  set_part(post, TAGS * slot + tag + P, p)
  if n > 0 then set_part(post, TAGS * slot + tag + N, n) end
  return true
end
