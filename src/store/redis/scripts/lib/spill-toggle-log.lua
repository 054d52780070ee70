-- scripts/lib/spill-toggle-log.lua: moves updates that a toggle log has no room for to the registers of lib/registers.lua.
-- @needs bucket keys linear-hashing chunk-growth hybrid-clock replication-state toggle-log registers
-- @constants VALUES_AT_ONCE FEED_MAX
local call, unpack, min, max = redis.call, unpack, math.min, math.max
-- A log has at most FEED_MAX updates, like the change feed, and this many entries: reading all of a log takes some milliseconds.
local ENTRIES_MAX = 2048
-- Updates, or entries, that are moved beyond the excess, so that few commits move any.
local EXTRA_UPDATES, EXTRA_ENTRIES = 500, 200

-- @return toggles of the oldest entries that are not stable, each once; by index the stamp of its latest update; the id of the last entry
local function read_oldest(key, count)
  local entries = call('XRANGE', key, '-', '+', 'COUNT', count)
  local toggles, stamps, indices = {}, {}, {}
  toggle_log.each_group(entries, function(set, stamp, list, from, to)
    if stamp <= bucket.stable_stamp then return end
    for i = from, to do
      local toggle = toggle_log.toggle_name(set, list[i])
      local index = indices[toggle] or #toggles + 1
      indices[toggle], toggles[index], stamps[index] = index, toggle, max(stamps[index] or 0, stamp)
    end
  end)
  return toggles, stamps, entries[#entries][1]
end

local function plan_registers(plan, toggles, stamps)
  local state = registers.read_state() or { count = 0, chunks = 1, oldest = stamps[1], newest = 0, expired_chunks = 0, oldest_left = stamps[1] }
  plan.state, plan.toggles, plan.stamps = state, toggles, stamps
  plan.groups = registers.group_by_chunk(toggles, state.chunks)
  local registered = registers.read_groups(plan.groups, toggles)
  for i, stamp in ipairs(stamps) do
    state.oldest, state.oldest_left, state.newest = min(state.oldest, stamp), min(state.oldest_left, stamp), max(state.newest, stamp)
    if registered[i] then stamps[i] = max(stamp, registered[i]) else state.count = state.count + 1 end
  end
  local needed = chunk_growth.chunks_needed(state.count, chunk_growth.HASH_LOAD_MAX, state.chunks)
  if needed == state.chunks then return end
  chunk_growth.plan(keys.registers_prefix(), state.chunks, needed, 'HGETALL', 2, linear_hashing.hash_post)
  state.chunks = needed
  plan.groups = registers.group_by_chunk(toggles, needed)
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
  local toggles, stamps, id = read_oldest(key, count)
  local plan = { key = key }
  plan.stamp, plan.removed = toggle_log.parse_id(id)
  if #toggles > 0 then plan_registers(plan, toggles, stamps) end
  return plan
end

-- Writes what was planned, after lib/chunk-growth.lua has written its part.
local function write(plan)
  call('XTRIM', plan.key, 'MINID', hybrid_clock.stamp_text(plan.stamp) .. '-' .. hybrid_clock.stamp_text(plan.removed + 1))
  if not plan.state then return end
  for _, group in ipairs(plan.groups) do
    for first = 2, #group, VALUES_AT_ONCE do
      local values = {}
      for i = first, min(first + VALUES_AT_ONCE - 1, #group) do
        values[#values + 1], values[#values + 2] = plan.toggles[group[i]], hybrid_clock.stamp_text(plan.stamps[group[i]])
      end
      call('HSET', group[1], unpack(values))
    end
  end
  registers.write_state(plan.state)
end

return { plan_spill = plan_spill, write = write }
