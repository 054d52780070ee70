-- Members that the current batch names: whether each has a toggle of a post on.

-- In `values` hashes of members give way to whether they are on, 1 or 0. By place: what was read
local was_on = {}
-- The chunks in which they are, and the last place in each
local member_keys, member_ends, member_groups = {}, {}, 0

local function read_members_of(key, from, to, first)
  from, to = first + from, first + to
  member_groups = member_groups + 1
  member_keys[member_groups], member_ends[member_groups] = key, to
  if from == to then
    local on = call('SISMEMBER', key, values[members + from])
    values[states + from], was_on[from] = on, on
    return
  end
  local are = call('SMISMEMBER', key, unpack(values, members + from, members + to))
  for i = from, to do
    local on = are[i - from + 1]
    values[states + i], was_on[i] = on, on
  end
end

local function read_members()
  local first = 0
  member_groups = 0
  for i = sets + 1, sets + 3 * sets_count, 3 do
    local place, metric, many = values[i], values[i + 1], values[i + 2]
    local chunks = part(posts[place], 4 * metric + MORE_CHUNKS) + 1
    by_chunk(values, states + first, many, chunks, members_prefix(metric, names[place]), read_members_of, first)
    first = first + many
  end
end

local function grow_sets()
  local grown = false
  for i = sets + 1, sets + 3 * sets_count, 3 do
    grown = grow_set(posts[values[i]], values[i + 1], names[values[i]]) or grown
  end
  if not grown then return end
  member_groups = 0
  for i = sets + 1, sets + 3 * sets_count, 3 do
    local place, metric, many = values[i], values[i + 1], values[i + 2]
    local chunks = part(posts[place], 4 * metric + MORE_CHUNKS) + 1
    local prefix, size = members_prefix(metric, names[place]), size_of(chunks)
    for member = member_groups + 1, member_groups + many do
      local chunk = chunk_of(hash_of_key(values[members + member]), chunks, size)
      member_keys[member], member_ends[member] = prefix .. chunk, member
    end
    member_groups = member_groups + many
  end
end

local function write_changed_members(command, key, from, to, on)
  local last = 1
  scratch[1] = key
  for i = from, to do
    if values[states + i] == on and was_on[i] ~= on then
      last = last + 1
      scratch[last] = values[members + i]
    end
  end
  if last > 1 then call(command, unpack(scratch, 1, last)) end
end

local function write_members()
  local from = 1
  for group = 1, member_groups do
    local key, to = member_keys[group], member_ends[group]
    if from == to then
      local on = values[states + from]
      if on ~= was_on[from] then call(on == 1 and 'SADD' or 'SREM', key, values[members + from]) end
    else
      -- In this order: see `apply`.
      write_changed_members('SADD', key, from, to, 1)
      write_changed_members('SREM', key, from, to, 0)
    end
    from = to + 1
  end
end
