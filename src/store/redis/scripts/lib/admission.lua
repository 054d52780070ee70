-- scripts/lib/admission.lua: which operations a batch may apply here, in a bucket with homes; the meaning is that of `admits` in
-- milestone-homes.ts and of apply.ts.
-- @needs posts post-record current-batch milestones homes home-decisions forward-marks
-- @constants OPERATION_COUNT OPERATION_PUT_OFF OPERATION_VISIT
local admission = {
  -- Whether operations of the batch wait for earlier ones of their sessions.
  has_awaited = false,
}
local is_created = false

-- Creates what a batch needs in a bucket with homes: see lib/milestones.lua.
local function create()
  local compute_total = post_record.compute_total
  -- By session: the region of all its operations in the batch that are ELSEWHERE, false if there are several or they wait here.
  local awaited = {}

  function admission.open_bucket()
    awaited, admission.has_awaited = {}, false
  end

  -- Whether nothing may change a metric, or one of the others that an operation puts off, because an earlier home may still decide.
  local function must_wait(index, metric, others)
    for i = 0, #others do
      local state = homes.find(index, i == 0 and metric or others[i])
      if state and home_decisions.is_bound(state) and not home_decisions.becomes_effective(index, state) then return true end
    end
    return false
  end

  -- @param value  what an operation may add
  local function admits(index, metric, value, session, seq, hops, others)
    if forward_marks.is_elsewhere(index, metric, session, seq, hops, others, current_batch.is_replay) then return false end
    if not current_batch.is_replay and must_wait(index, metric, others) then return false end
    local state = homes.find(index, metric)
    if not state or value <= 0 then return true end
    local total = compute_total(posts.records[index], metric)
    home_decisions.release_if_over(index, metric, total)
    home_decisions.claim_from(index, metric, total + value)
    if #state.starts == 0 then return true end
    local armed = milestones.read_state(index, metric)
    local least = armed and armed.armed[1]
    return not least or least > total + value or home_decisions.has_all_confirmations(state)
  end

  -- Whether an operation that is no duplicate may be applied here, and no earlier one of its session in the batch is ELSEWHERE.
  -- @param i        the value after those of the operation: there are the other options that it puts off
  -- @param value    as the batch has it
  -- @param session  in decimal, empty for none
  -- @param hops     regions that have forwarded it
  function admission.is_admitted(i, kind, index, metric, value, session, seq, hops)
    local values, others = current_batch.values, {}
    while values[i] == OPERATION_PUT_OFF do
      others[#others + 1] = values[i + 2]
      i = i + 4
    end
    if kind < OPERATION_COUNT then value = kind elseif kind == OPERATION_VISIT then value = 1 end
    if current_batch.is_replay then return admits(index, metric, value, session, seq, hops, others) end
    local region = awaited[session]
    local must_wait = region ~= nil and (not region or region ~= forward_marks.find_target(index, metric, session, seq, hops, others))
    if not must_wait and admits(index, metric, value, session, seq, hops, others) then return true end
    if session ~= '' then
      local own = region ~= false and forward_marks.find_target(index, metric, session, seq, hops, others)
      awaited[session], admission.has_awaited = (region == nil or region == own) and own, true
    end
    return false
  end

  is_created = true
end

-- To be called after `home_decisions.open`.
function admission.open()
  admission.has_awaited = false
  if not homes.has_any then return end
  if not is_created then create() end
  forward_marks.open()
  admission.open_bucket()
end

return admission
