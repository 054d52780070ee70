-- scripts/lib/spill-toggle-log.lua: moves updates that a toggle log has no room for to the registers of lib/registers.lua.
-- @needs bucket keys chunks chunk-growth hybrid-clock msgpack replication-state toggle-log registers
-- @constants VALUES_AT_ONCE FEED_MAX
local call, unpack, min, max = redis.call, unpack, math.min, math.max
local args = msgpack.args
-- A log has at most FEED_MAX updates, like the change feed, and this many entries: reading all of a log takes some milliseconds.
local ENTRIES_MAX = 2048
-- Updates, or entries, that are moved beyond the excess, so that few commits move any.
local EXTRA_UPDATES, EXTRA_ENTRIES = 500, 200
-- As many as two bytes can number.
local SETS_MAX = 65536
-- Bytes of a stamp less the base. The first last for a day and a half; the next segment takes more. The most are enough for any stamp.
local STAMP_BYTES, STAMP_BYTES_MAX = 5, 7

-- @return updates of the oldest entries that are not stable, and the last id of these entries
local function read_oldest(key, count)
  local entries = call('XRANGE', key, '-', '+', 'COUNT', count)
  local updates = { oldest = math.huge, newest = 0, groups = {}, actors = {}, hashes = {} }
  local actors, hashes, last = updates.actors, updates.hashes, 0
  toggle_log.each_group(entries, function(set, stamp, list, from, to)
    if stamp <= bucket.stable_stamp then return end
    updates.oldest, updates.newest = min(updates.oldest, stamp), max(updates.newest, stamp)
    for i = from, to do
      last = last + 1
      actors[last], hashes[last] = list[i], chunks.hash_key(list[i])
    end
    updates.groups[#updates.groups + 1] = { set, stamp, last }
  end)
  return updates, entries[#entries][1]
end

-- The segment that takes the updates and this many new sets: another one when the first updates of the last are stable.
local function segment_for(segments, sets, updates)
  local last, newest = segments[#segments], updates.newest
  local has_room = last and last.sets + sets <= SETS_MAX and updates.oldest > last.base and newest - last.base < 256 ^ last.stamp_bytes
  if has_room and bucket.stable_stamp < last.first_moved then
    last.newest = max(last.newest, newest)
    return last
  end
  local bytes = last and bucket.stable_stamp < last.first_moved and min(last.stamp_bytes + 1, STAMP_BYTES_MAX) or STAMP_BYTES
  local base = max(bucket.stable_stamp, newest - 256 ^ bytes / 2)
  if updates.oldest <= base then base, bytes = bucket.stable_stamp, STAMP_BYTES_MAX end
  local segment = {
    number = last and last.number + 1 or 1, base = base, stamp_bytes = bytes, first_moved = newest, newest = newest,
    sets = 0, actors = 0, chunks = 1,
  }
  segments[#segments + 1] = segment
  return segment
end

-- @return groups of indices of updates, each after the key of their chunk
local function group_updates(segment, updates)
  local size = chunks.size_for(segment.chunks)
  local groups, add = chunks.group_by_chunk(keys.registers_prefix(segment.number))
  for i, hash in ipairs(updates.hashes) do add(chunks.chunk_for(hash, segment.chunks, size), i) end
  return groups
end

-- An actor's packed registers with one more; of two of a set the later one stays.
local function with_register(packed, register)
  local set, step = string.sub(register, 1, 2), #register
  for i = 1, #packed, step do
    if string.sub(packed, i, i + 1) == set then
      if string.sub(packed, i, i + step - 1) >= register then return packed end
      return string.sub(packed, 1, i - 1) .. register .. string.sub(packed, i + step)
    end
  end
  return packed .. register
end

-- @return by actor: its packed registers
local function read_packed(groups, actors)
  local packed = {}
  for _, group in ipairs(groups) do
    for from = 2, #group, VALUES_AT_ONCE do
      local to = min(from + VALUES_AT_ONCE - 1, #group)
      for i = from, to do args[i - from + 1] = actors[group[i]] end
      local found = call('HMGET', keys.track_key(group[1]), unpack(args, 1, to - from + 1))
      for i = from, to do packed[actors[group[i]]] = found[i - from + 1] or nil end
    end
  end
  return packed
end

local function add_registers(packed, segment, updates, numbers)
  local format, actors, from = registers.format_for(segment), updates.actors, 1
  for _, group in ipairs(updates.groups) do
    local register = struct.pack(format, numbers[group[1]], group[2] - segment.base)
    for i = from, group[3] do
      local before = packed[actors[i]]
      if before then
        packed[actors[i]] = with_register(before, register)
      else
        packed[actors[i]], segment.actors = register, segment.actors + 1
      end
    end
    from = group[3] + 1
  end
end

local function plan_registers(plan, updates)
  local sets, seen = {}, {}
  for _, group in ipairs(updates.groups) do
    if not seen[group[1]] then sets[#sets + 1], seen[group[1]] = group[1], true end
  end
  plan.segments = registers.read_segments()
  local segment = segment_for(plan.segments, #sets, updates)
  plan.segment, plan.updates, plan.new_sets, plan.numbers = segment, updates, {}, registers.read_set_numbers(segment, sets)
  for _, set in ipairs(sets) do
    if not plan.numbers[set] then
      plan.numbers[set], segment.sets = segment.sets, segment.sets + 1
      plan.new_sets[#plan.new_sets + 1] = set
    end
  end
  plan.groups = group_updates(segment, updates)
  plan.packed = read_packed(plan.groups, updates.actors)
  add_registers(plan.packed, segment, updates, plan.numbers)
  local needed = chunk_growth.chunks_needed(segment.actors, chunk_growth.HASH_LOAD_MAX, segment.chunks)
  if needed == segment.chunks then return end
  chunk_growth.plan(keys.registers_prefix(segment.number), segment.chunks, needed, 'HGETALL', 2, chunks.hash_key)
  segment.chunks = needed
  plan.groups = group_updates(segment, updates)
end

-- Reads what has to be moved out of a log that has, or is about to have, too many updates. @return nil if nothing has to
-- @param kept, more  how many updates it has, and how many are added
local function plan_spill(key, kept, more)
  local entries, excess, count = call('XLEN', keys.track_key(key)), kept + more - FEED_MAX, 0
  if excess > 0 and entries > 0 then
    count = math.ceil((excess + EXTRA_UPDATES) * entries / kept)
  elseif entries > ENTRIES_MAX then
    count = entries - ENTRIES_MAX + EXTRA_ENTRIES
  end
  if count == 0 then return nil end
  replication_state.unpack_state()
  local updates, id = read_oldest(key, count)
  local plan = { key = key }
  plan.stamp, plan.removed = toggle_log.parse_id(id)
  if updates.newest > 0 then plan_registers(plan, updates) end
  return plan
end

local function write_sets(plan)
  for from = 1, #plan.new_sets, VALUES_AT_ONCE do
    local to, list = min(from + VALUES_AT_ONCE - 1, #plan.new_sets), {}
    for i = from, to do list[#list + 1], list[#list + 2] = plan.new_sets[i], plan.numbers[plan.new_sets[i]] end
    call('HSET', keys.register_sets(plan.segment.number), unpack(list))
    call('RPUSH', keys.register_names(plan.segment.number), unpack(plan.new_sets, from, to))
  end
end

-- Writes what was planned, after lib/chunk-growth.lua has written its part.
local function write(plan)
  call('XTRIM', plan.key, 'MINID', hybrid_clock.stamp_text(plan.stamp) .. '-' .. hybrid_clock.stamp_text(plan.removed + 1))
  if not plan.segment then return end
  local actors = plan.updates.actors
  write_sets(plan)
  for _, group in ipairs(plan.groups) do
    for from = 2, #group, VALUES_AT_ONCE do
      local last = 0
      for i = from, min(from + VALUES_AT_ONCE - 1, #group) do
        local actor = actors[group[i]]
        args[last + 1], args[last + 2] = actor, plan.packed[actor]
        last = last + 2
      end
      call('HSET', group[1], unpack(args, 1, last))
    end
  end
  registers.write_segments(plan.segments)
end

return { plan_spill = plan_spill, write = write }
