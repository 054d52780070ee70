-- The batch at hand: as values, and where among them stands what it names. commit-batches-n.lua says which values these are.

local HEADER_VALUES = 8

-- Its values, how many of what it names, and after which of the values these stand
local values, posts_count, sessions_count, sets_count
local sessions, marks, sets, members, states, operations
-- A list for whoever needs one for a moment: see lib-bucket.lua.
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

local function take_apart(batch)
  values = values_of(batch)
  local members_count
  posts_count, sessions_count, sets_count, members_count = values[5], values[6], values[7], values[8]
  sessions = HEADER_VALUES + 2 * posts_count
  marks = sessions + sessions_count
  sets = marks + sessions_count
  members = sets + 3 * sets_count
  states = members + members_count
  operations = states + members_count
end
