-- The current batch: as values, and where among them stands what it names. commit-batches-n.lua says which values these are.

local HEADER_VALUES = 8

-- How many of what it names, and after which of the values these stand
local sessions_count, sets_count
local sessions, marks, sets, members, states, operations
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
