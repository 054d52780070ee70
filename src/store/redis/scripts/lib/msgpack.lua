-- What a script is asked, as msgpack values one after the other, and answers so.

-- The current values, and how many posts they name
local values, posts_count
-- A list for whoever needs one for a moment: see lib/post-record.lua.
local scratch = {}

-- In parts, if they are many. The first is no value: it is the offset of what comes after them.
local function values_of(packed)
  local offset, left = unpack_values(packed, 1, 0)
  if left <= AT_ONCE then return { unpack_values(packed, left, offset) } end
  local all, last = { 0 }, 1
  while left > 0 do
    local some = { unpack_values(packed, min(left, AT_ONCE), offset) }
    for i = 2, #some do all[last + i - 1] = some[i] end
    offset, last, left = some[1], last + #some - 1, left - #some + 1
  end
  return all
end

-- What `make` makes of a list, as a string: of its parts one after the other, if it is long.
local function joined(make, list, count)
  if count <= AT_ONCE then return make(unpack(list, 1, count)) end
  local parts = {}
  for i = 1, count, AT_ONCE do parts[#parts + 1] = make(unpack(list, i, min(i + AT_ONCE - 1, count))) end
  return table.concat(parts)
end
