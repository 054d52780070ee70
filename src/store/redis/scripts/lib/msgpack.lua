-- scripts/lib/msgpack.lua: msgpack values one after the other, as gateways send and scripts reply them. Lists of any length are
-- handled in pieces.
-- @constants VALUES_AT_ONCE
local unpack, min, unpack_values = unpack, math.min, cmsgpack.unpack_limit

-- A list that any function may fill for one command. Growing a new table costs more than decoding a post's record.
local args = {}

-- @return the values of a list with its length before it. The first of them is no value, but the offset after the length
local function unpack_list(packed)
  local offset, left = unpack_values(packed, 1, 0)
  if left <= VALUES_AT_ONCE then return { unpack_values(packed, left, offset) } end
  local all, last = { 0 }, 1
  while left > 0 do
    local some = { unpack_values(packed, min(left, VALUES_AT_ONCE), offset) }
    for i = 2, #some do all[last + i - 1] = some[i] end
    offset, last, left = some[1], last + #some - 1, left - #some + 1
  end
  return all
end

-- @param make  makes a string of values: cmsgpack.pack or string.char
-- @return the strings of a list's pieces, concatenated
local function concat_packed(make, list, count)
  if count <= VALUES_AT_ONCE then return make(unpack(list, 1, count)) end
  local pieces = {}
  for i = 1, count, VALUES_AT_ONCE do pieces[#pieces + 1] = make(unpack(list, i, min(i + VALUES_AT_ONCE - 1, count))) end
  return table.concat(pieces)
end

return { args = args, unpack_list = unpack_list, concat_packed = concat_packed }
