-- scripts/lib/apply-operations.lua: the outcome of each operation of the current batch; the meaning is that of apply.ts. It changes the
-- posts, marks and members that were read, and writes nothing.
-- @needs bucket msgpack post-record posts current-batch record-changes changed-posts milestones
-- @needs reached-milestones homes admission operation-milestones
-- @constants COUNT_MAX TAG_MEMBERS TAG_P TAG_N TAGS_PER_METRIC
-- @constants OUTCOME_APPLIED OUTCOME_DUPLICATE OUTCOME_ELSEWHERE OUTCOME_ON OUTCOME_REACHED OUTCOME_SWITCHED SWITCHED_FROM SWITCHED_FROM_SEVERAL
-- @constants OPERATION_COUNT OPERATION_FORWARDED OPERATION_PUT_OFF OPERATION_VISIT OPERATION_WITH_SESSION
local get_field, set_field, compute_total = post_record.get_field, post_record.set_field, post_record.compute_total
local record_count, record_toggle = record_changes.record_count, record_changes.record_toggle
local records, is_changed = posts.records, posts.is_changed

-- The values of the current batch, and where they have members and whether these are on.
local values, members_at, states_at
local is_replicated, is_recording, records_members = false, false, false
local outcomes = {}

local function add(index, metric, value)
  local post, first_tag = records[index], TAGS_PER_METRIC * metric
  if value > 0 then
    local total = compute_total(post, metric)
    if total + value > COUNT_MAX then return 0 end
    set_field(post, first_tag + TAG_P, get_field(post, first_tag + TAG_P) + value)
    if is_recording then changed_posts.move_sum(post, metric, total, value) end
  else
    local n = get_field(post, first_tag + TAG_N) - value
    -- A region takes away only what it has added itself: see countRights in pn-counter.ts.
    if get_field(post, first_tag + TAG_P) < n then return 0 end
    local total = is_recording and compute_total(post, metric)
    set_field(post, first_tag + TAG_N, n)
    if total then changed_posts.move_sum(post, metric, total, value) end
  end
  if is_replicated then record_count(index) end
  is_changed[index] = 1
  return OUTCOME_APPLIED
end

-- The outcome of an operation that is no duplicate.
-- @param value  the member, 0 for nobody; of OPERATION_COUNT what it adds
-- @param on     whether the member is on, nil for nobody
local function apply_one(kind, index, metric, value, on)
  if kind == OPERATION_COUNT then return add(index, metric, value) end
  if is_replicated and value > 0 then record_toggle(value) end
  if on == nil or on == kind then return OUTCOME_ON * kind end
  values[states_at + value] = kind
  local post, tag, change = records[index], TAGS_PER_METRIC * metric + TAG_MEMBERS, 2 * kind - 1
  local total = is_recording and compute_total(post, metric)
  set_field(post, tag, get_field(post, tag) + change)
  if total then
    changed_posts.move_sum(post, metric, total, change)
    if records_members then changed_posts.record_member(index, metric, values[members_at + value]) end
  end
  is_changed[index] = 1
  return OUTCOME_APPLIED + OUTCOME_ON * kind
end

-- @param mark      of the actor's visits to the post
-- @param second    in which this one was accepted
local function visit(index, metric, mark, second, window)
  if second < values[mark] + window then return 0 end
  local outcome = add(index, metric, 1)
  if outcome > 0 then values[mark] = second end
  return outcome
end

-- Puts another option of a choice off, after the operation that has put one on: see buildSwitched in operation.ts.
-- @param outcome  of that operation
-- @param option   its index among the other options, from 0
-- @return its outcome now
local function put_off(outcome, option, index, metric, member)
  if apply_one(0, index, metric, member, values[states_at + member]) == 0 then return outcome end
  if outcome % (2 * OUTCOME_SWITCHED) >= OUTCOME_SWITCHED then return outcome % SWITCHED_FROM + SWITCHED_FROM * SWITCHED_FROM_SEVERAL end
  if outcome % (2 * OUTCOME_APPLIED) < OUTCOME_APPLIED then outcome = outcome + OUTCOME_APPLIED end
  return outcome + OUTCOME_SWITCHED + SWITCHED_FROM * option
end

-- @param has_milestones, has_homes  whether the bucket has any
-- @return the outcomes, a byte each; nil if one reaches a milestone and the gateway has to name the operations
local function apply(has_milestones, has_homes)
  values, members_at, states_at = current_batch.values, current_batch.members_at, current_batch.states_at
  is_replicated, is_recording, records_members = bucket.own_region >= 0, bucket.is_recording, bucket.records_members
  local sessions_at, seqs_at, counted_at = current_batch.sessions_at, current_batch.seqs_at, current_batch.counted_at
  local number, i, last = 0, current_batch.operations_at + 1, #values
  local is_duplicate, is_elsewhere, option, least = false, false, 0, has_milestones and milestones.is_armed and milestones.least
  -- Nobody would forward an event of a log.
  local home_states = has_homes and not current_batch.after_in_log and homes.states
  while i <= last do
    local kind, index, metric, value = values[i], values[i + 1], values[i + 2], values[i + 3]
    i = i + 4
    if kind == OPERATION_PUT_OFF then
      if not is_duplicate and not is_elsewhere then outcomes[number] = put_off(outcomes[number], option, index, metric, value) end
      option = option + 1
    else
      local on, session, seq, hops
      is_duplicate, is_elsewhere, option, number = false, false, 0, number + 1
      if kind >= OPERATION_WITH_SESSION then
        kind, session, seq = kind - OPERATION_WITH_SESSION, values[i], values[i + 1]
        if kind >= OPERATION_FORWARDED then kind, hops = kind % OPERATION_FORWARDED, math.floor(kind / OPERATION_FORWARDED) end
        is_duplicate = seq <= values[seqs_at + session]
        i = i + 2
      end
      if kind < OPERATION_COUNT and value > 0 then on = values[states_at + value] end
      if kind == OPERATION_VISIT then i = i + 2 end
      if home_states and not is_duplicate and (home_states[index] or admission.has_awaited) then
        local name = session and values[sessions_at + session] or ''
        is_elsewhere = not admission.is_admitted(i, kind, index, metric, value, name, seq or 0, hops or 0)
      end
      if session and not is_duplicate and not is_elsewhere then values[seqs_at + session] = seq end
      if is_elsewhere then
        outcomes[number] = OUTCOME_ELSEWHERE
      elseif is_duplicate then
        outcomes[number] = on == 1 and OUTCOME_DUPLICATE + OUTCOME_ON or OUTCOME_DUPLICATE
        if has_milestones then
          reached_milestones.create()
          if reached_milestones.is_winner(index, metric, values[sessions_at + session], seq) then outcomes[number] = outcomes[number] + OUTCOME_REACHED end
        end
      elseif kind == OPERATION_VISIT then
        outcomes[number] = visit(index, metric, counted_at + value, values[i - 2], values[i - 1])
      else
        outcomes[number] = apply_one(kind, index, metric, value, on)
      end
      local n = least and least[index] and least[index][metric]
      if n and not is_duplicate and not is_elsewhere and outcomes[number] % 2 == OUTCOME_APPLIED then
        local name = session and values[sessions_at + session] or ''
        outcomes[number] = operation_milestones.reach(outcomes[number], number, kind, index, metric, value, n, name, seq or 0)
        if not outcomes[number] then return nil end
      end
    end
  end
  return msgpack.concat_packed(string.char, outcomes, number)
end

return { apply = apply }
