-- scripts/lib/registers.lua: LWW registers of toggles that the toggle logs have no room for: most of them while a region is down. They
-- are in chunks: toggle (post, metric, actor) → stamp. Stable ones are removed some chunks at a time.
-- @needs bucket keys linear-hashing hybrid-clock toggle-log
-- @constants VALUES_AT_ONCE FIELD_REGISTERS KEY_LOCAL_LOG KEY_REMOTE_LOG
local call, unpack, min, max, pack = redis.call, unpack, math.min, math.max, cmsgpack.pack
local track_key = keys.track_key
-- Chunks that a call may still look through for stable registers, in all of its buckets together: about a millisecond.
local expiry_chunks_left = 10

-- @param packed  the field `registers`
-- @return nil if there are none; else how many registers and chunks there are, stamps that none is below and none above, and how far
--         the pass has come that looks for stable ones: chunks, and the oldest stamp that it has left
local function unpack_state(packed)
  if not packed then return nil end
  local count, chunk_count, oldest, newest, expired_chunks, oldest_left = cmsgpack.unpack(packed)
  return { count = count, chunks = chunk_count, oldest = oldest, newest = newest, expired_chunks = expired_chunks, oldest_left = oldest_left }
end

local function read_state()
  return unpack_state(call('HGET', bucket.key, FIELD_REGISTERS))
end

local function write_state(state)
  if state.count == 0 then
    call('HDEL', bucket.key, FIELD_REGISTERS)
  else
    local packed = pack(state.count, state.chunks, state.oldest, state.newest, state.expired_chunks, state.oldest_left)
    call('HSET', bucket.key, FIELD_REGISTERS, packed)
  end
end

-- @return groups, each the key of a chunk and indices of its toggles
local function group_by_chunk(toggles, chunk_count)
  local size = linear_hashing.size_for(chunk_count)
  local groups, add = linear_hashing.group_by_chunk(keys.registers_prefix())
  for i, toggle in ipairs(toggles) do add(linear_hashing.chunk_for(linear_hashing.hash_post(toggle), chunk_count, size), i) end
  return groups
end

-- @return by index of a toggle: its stamp; toggles without a register are left out
local function read_groups(groups, toggles)
  local stamps = {}
  for _, group in ipairs(groups) do
    for first = 2, #group, VALUES_AT_ONCE do
      local last, names = min(first + VALUES_AT_ONCE - 1, #group), {}
      for i = first, last do names[i - first + 1] = toggles[group[i]] end
      local found = call('HMGET', track_key(group[1]), unpack(names))
      for i = first, last do stamps[group[i]] = tonumber(found[i - first + 1] or nil) end
    end
  end
  return stamps
end

-- Calls `take(set, actor, stamp)` for each register in a chunk.
local function each(chunk, take)
  local list = call('HGETALL', track_key(keys.registers_prefix() .. chunk))
  for i = 1, #list, 2 do
    local set, actor = toggle_log.parse_toggle(list[i])
    take(set, actor, tonumber(list[i + 1]))
  end
end

-- Raises the stamps in wanted[set][actor] to those of registers.
local function raise_stamps(wanted, state)
  local toggles, actors_of, actors = {}, {}, {}
  for set, by_actor in pairs(wanted) do
    for actor in pairs(by_actor) do
      local i = #toggles + 1
      toggles[i], actors_of[i], actors[i] = toggle_log.toggle_name(set, actor), by_actor, actor
    end
  end
  for i, stamp in pairs(read_groups(group_by_chunk(toggles, state.chunks), toggles)) do
    local by_actor = actors_of[i]
    by_actor[actors[i]] = max(by_actor[actors[i]], stamp)
  end
end

-- Stamps of the latest updates of toggles, 0 where none is kept. Of an update before `least` the result may be 0 or an earlier stamp.
-- @param sets, actors  the toggles: a set and an actor each
-- @param logs          keys of the logs that may have updates of theirs; nil: both
local function read_stamps(sets, actors, least, logs)
  local wanted, stamps = {}, {}
  if #sets == 0 then return stamps end
  for i, set in ipairs(sets) do
    wanted[set] = wanted[set] or {}
    wanted[set][actors[i]] = 0
  end
  for _, key in ipairs(logs or { bucket.key .. KEY_LOCAL_LOG, bucket.key .. KEY_REMOTE_LOG }) do
    toggle_log.each_group(call('XRANGE', track_key(key), hybrid_clock.stamp_text(least), '+'), function(set, stamp, list, from, to)
      local by_actor = wanted[set]
      if not by_actor then return end
      for i = from, to do
        local found = by_actor[list[i]]
        if found and found < stamp then by_actor[list[i]] = stamp end
      end
    end)
  end
  local state = read_state()
  if state and state.newest >= least then raise_stamps(wanted, state) end
  for i, set in ipairs(sets) do stamps[i] = wanted[set][actors[i]] end
  return stamps
end

-- Looks for stable registers in some chunks, and counts them out of the state.
-- @return groups of them, each the key of a chunk and toggles; nil if none can be stable, or the call has looked through enough
local function plan_expiry(state)
  if not state or state.oldest > bucket.stable_stamp or expiry_chunks_left == 0 then return nil end
  local groups, last = {}, min(state.expired_chunks + expiry_chunks_left, state.chunks)
  expiry_chunks_left = expiry_chunks_left - (last - state.expired_chunks)
  for chunk = state.expired_chunks, last - 1 do
    local group = { keys.registers_prefix() .. chunk }
    local list = call('HGETALL', track_key(group[1]))
    for i = 1, #list, 2 do
      local stamp = tonumber(list[i + 1])
      if stamp > bucket.stable_stamp then
        state.oldest_left = min(state.oldest_left, stamp)
      else
        group[#group + 1] = list[i]
      end
    end
    if #group > 1 then groups[#groups + 1], state.count = group, state.count - #group + 1 end
  end
  state.expired_chunks = last
  if last == state.chunks then state.oldest, state.oldest_left, state.expired_chunks = state.oldest_left, state.newest, 0 end
  return groups
end

local function write_expiry(groups, state)
  for _, group in ipairs(groups) do
    for first = 2, #group, VALUES_AT_ONCE do
      call('HDEL', group[1], unpack(group, first, min(first + VALUES_AT_ONCE - 1, #group)))
    end
  end
  write_state(state)
end

return {
  unpack_state = unpack_state, read_state = read_state, write_state = write_state,
  group_by_chunk = group_by_chunk, read_groups = read_groups, each = each, read_stamps = read_stamps,
  plan_expiry = plan_expiry, write_expiry = write_expiry,
}
