-- scripts/lib/forward-marks.lua: which region has to do the operations of a session: the home, or the region to which an operation was
-- forwarded before. Marks are kept by generations: see lib/marks.lua.
-- @needs bucket keys homes
-- @constants HOME_STRICT HOPS_MAX KEY_FORWARD_MARKS FIELD_FORWARD_MARKS MARK_GENERATION_MAX MARK_GENERATION_MS
local forward_marks = {}
local is_created = false

-- To be called before all functions but `open`: see lib/milestones.lua.
local function create()
  local call, pack, unpack = redis.call, cmsgpack.pack, unpack
  -- The generation of marks: its number, and when it began (ms).
  local generation, generation_started_ms, has_new_generation = 1, 0, false
  -- By session and region: marks that this call sets.
  local new_marks = {}

  function forward_marks.open_bucket()
    new_marks, has_new_generation, generation, generation_started_ms = {}, false, 1, 0
    if homes.marks_field then generation, generation_started_ms = cmsgpack.unpack(homes.marks_field) end
  end

  local function marks_key(number)
    return keys.track_key(bucket.key .. KEY_FORWARD_MARKS .. number)
  end

  -- Begins a generation if the current one is old or full.
  function forward_marks.begin_generation(at_ms)
    local is_over = at_ms >= generation_started_ms + MARK_GENERATION_MS or call('HLEN', marks_key(generation)) >= MARK_GENERATION_MAX
    if not is_over then return end
    generation, generation_started_ms, has_new_generation = generation + 1, at_ms, true
    -- `write` names both, and may not fail.
    marks_key(generation)
    marks_key(generation - 2)
  end

  -- Whether this region remembers which one has got an operation: one of the last region that may get it goes nowhere else.
  -- @param hops  regions that have forwarded it
  local function has_mark(session, hops)
    return session ~= '' and hops < HOPS_MAX
  end

  -- Marks of operations of other regions are apart: see forward-key.ts.
  local function to_field(session, region, hops)
    return session .. (hops > 0 and '>' or ' ') .. region
  end

  local function is_frozen(state)
    return state and state.region ~= '' and state.mode == HOME_STRICT and state.region ~= homes.own_region()
  end

  -- @param others  metrics that an operation puts off
  -- @return the metric that makes it an operation of another region
  local function find_frozen(index, metric, others)
    if is_frozen(homes.find(index, metric)) then return metric end
    for _, other in ipairs(others) do
      if is_frozen(homes.find(index, other)) then return other end
    end
  end

  -- @param others  metrics that an operation puts off
  -- @return the region to which the operation was forwarded before, for whichever of its metrics; nil if it was not. Of several the one with
  --         the lowest mark: see findForwarded in milestone-homes.ts
  local function find_forwarded(index, metric, others, session, seq, hops)
    local regions, fields, is_peer = {}, {}, {}
    for _, peer in ipairs(homes.peers()) do is_peer[peer] = true end
    for i = 0, #others do
      local state = homes.find(index, i == 0 and metric or others[i])
      for _, region in ipairs(state and state.forwarded_to or {}) do
        if is_peer[region] then regions[#regions + 1], fields[#fields + 1] = region, to_field(session, region, hops) end
      end
    end
    if #fields == 0 then return nil end
    local current, previous = call('HMGET', marks_key(generation), unpack(fields)), call('HMGET', marks_key(generation - 1), unpack(fields))
    local found, least
    for i, region in ipairs(regions) do
      local mark = new_marks[fields[i]] or tonumber(current[i] or previous[i] or 0)
      if seq <= mark and (not least or mark < least) then found, least = region, mark end
    end
    return found
  end

  -- @param session  its key in decimal, empty for none
  -- @return the region that has to do an operation that is not admitted, false: it has to wait here
  function forward_marks.find_target(index, metric, session, seq, hops, others)
    local before = has_mark(session, hops) and find_forwarded(index, metric, others, session, seq, hops)
    if before then return before end
    local frozen = find_frozen(index, metric, others)
    return frozen and homes.find(index, frozen).region or false
  end

  -- Whether another region has to do an operation. Notes that it is forwarded.
  -- @param session  its key in decimal, empty for none
  -- @param others     metrics that it puts off
  -- @param is_replay  whether it was counted here, and lost: then it is counted here again
  function forward_marks.is_elsewhere(index, metric, session, seq, hops, others, is_replay)
    if has_mark(session, hops) and find_forwarded(index, metric, others, session, seq, hops) then return true end
    local frozen = not is_replay and find_frozen(index, metric, others)
    if not frozen or not has_mark(session, hops) then return frozen and true end
    new_marks[to_field(session, homes.find(index, frozen).region, hops)] = seq
    return true
  end

  -- @return whether there is something to be written
  function forward_marks.has_changes()
    return has_new_generation or next(new_marks) ~= nil
  end

  function forward_marks.write()
    if has_new_generation then
      call('HSET', bucket.key, FIELD_FORWARD_MARKS, pack(generation, generation_started_ms))
      call('UNLINK', bucket.key .. KEY_FORWARD_MARKS .. (generation - 2))
    end
    for field, seq in pairs(new_marks) do call('HSET', bucket.key .. KEY_FORWARD_MARKS .. generation, field, seq) end
  end

  is_created = true
end

-- To be called after `homes.open` where the bucket has homes.
function forward_marks.open()
  if not is_created then create() end
  forward_marks.open_bucket()
end

return forward_marks
