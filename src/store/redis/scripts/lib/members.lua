-- scripts/lib/members.lua: sets of actors that have a toggle of a post on, and the members that the current batch names.
-- @needs keys linear-hashing chunk-growth post-record msgpack posts current-batch
-- @constants TAG_MEMBERS TAG_MORE_CHUNKS TAGS_PER_METRIC
local call, unpack = redis.call, unpack
local each_chunk, chunk_for, size_for, hash_key = linear_hashing.each_chunk, linear_hashing.chunk_for, linear_hashing.size_for, linear_hashing.hash_key
local get_field, member_chunks, members_prefix = post_record.get_field, post_record.member_chunks, keys.members_prefix
local names, records, args = posts.names, posts.records, msgpack.args
local SPLITTING_AT = chunk_growth.SET_LOAD_MAX * chunk_growth.SPLITTING_FROM

-- The values of the current batch, and where they have members and whether each is on.
local values, members_at, states_at
-- By member: whether it was on when it was read, 1 or 0.
local was_on = {}
-- The chunks of the members, and the last member in each.
local group_keys, group_ends, group_count = {}, {}, 0

-- Key of the chunk that holds, or would hold, an actor of a current post.
local function chunk_key(index, metric, actor)
  local count = member_chunks(records[index], metric)
  return members_prefix(metric, names[index]) .. chunk_for(hash_key(actor), count, size_for(count))
end

-- Plans more chunks for the members of a post's metric, if they need more. @return whether they do
local function grow_set(post, metric, name)
  local entries = get_field(post, TAGS_PER_METRIC * metric + TAG_MEMBERS)
  -- Most sets are small.
  if entries <= SPLITTING_AT then return false end
  local present = member_chunks(post, metric)
  local needed = chunk_growth.chunks_needed(entries, chunk_growth.SET_LOAD_MAX, present)
  if needed == present then return false end
  chunk_growth.plan(members_prefix(metric, name), present, needed, 'SMEMBERS', 1, hash_key)
  post_record.set_field(post, TAGS_PER_METRIC * metric + TAG_MORE_CHUNKS, needed - 1)
  return true
end

local function read_chunk(key, from, to, first)
  from, to = first + from, first + to
  group_count = group_count + 1
  group_keys[group_count], group_ends[group_count] = key, to
  if from == to then
    local on = call('SISMEMBER', key, values[members_at + from])
    values[states_at + from], was_on[from] = on, on
    return
  end
  local states = call('SMISMEMBER', key, unpack(values, members_at + from, members_at + to))
  for i = from, to do
    local on = states[i - from + 1]
    values[states_at + i], was_on[i] = on, on
  end
end

local function read()
  local first = 0
  group_count = 0
  values, members_at, states_at = current_batch.values, current_batch.members_at, current_batch.states_at
  for i = current_batch.sets_at + 1, members_at, 3 do
    local index, metric, count = values[i], values[i + 1], values[i + 2]
    each_chunk(values, states_at + first, count, member_chunks(records[index], metric), members_prefix(metric, names[index]), read_chunk, first)
    first = first + count
  end
end

local function grow()
  local has_grown, sets_at = false, current_batch.sets_at
  for i = sets_at + 1, members_at, 3 do
    has_grown = grow_set(records[values[i]], values[i + 1], names[values[i]]) or has_grown
  end
  if not has_grown then return end
  group_count = 0
  for i = sets_at + 1, members_at, 3 do
    local index, metric = values[i], values[i + 1]
    for member = group_count + 1, group_count + values[i + 2] do
      group_keys[member], group_ends[member] = chunk_key(index, metric, values[members_at + member]), member
    end
    group_count = group_count + values[i + 2]
  end
end

local function write_changed(command, key, from, to, on)
  local last = 1
  args[1] = key
  for i = from, to do
    if values[states_at + i] == on and was_on[i] ~= on then
      last = last + 1
      args[last] = values[members_at + i]
    end
  end
  if last > 1 then call(command, unpack(args, 1, last)) end
end

local function write()
  local from = 1
  for group = 1, group_count do
    local key, to = group_keys[group], group_ends[group]
    if from == to then
      local on = values[states_at + from]
      if on ~= was_on[from] then call(on == 1 and 'SADD' or 'SREM', key, values[members_at + from]) end
    else
      -- Added before others are removed: see commit-batches-n.lua.
      write_changed('SADD', key, from, to, 1)
      write_changed('SREM', key, from, to, 0)
    end
    from = to + 1
  end
end

return { chunk_key = chunk_key, grow_set = grow_set, read = read, grow = grow, write = write }
