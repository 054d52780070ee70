-- scripts/lib/operation-milestones.lua: which milestones operations of the current batch reach.
-- @needs post-record posts current-batch milestones reached-milestones homes
-- @constants OPERATION_COUNT OPERATION_FORWARDED OPERATION_PUT_OFF OPERATION_VISIT OPERATION_WITH_SESSION OUTCOME_REACHED REACHED_BY_SET
local compute_total, records = post_record.compute_total, posts.records

-- Records what a total has reached after an operation was applied.
-- @param least         the least threshold that is armed
-- @param session, seq  empty and 0 if it has none
-- @return its outcome now; nil if the gateway has to name the operations first
local function reach(outcome, number, kind, index, metric, value, least, session, seq)
  local post, values, names_at, by, actor = records[index], current_batch.values, current_batch.names_at, nil, nil
  local total = compute_total(post, metric)
  if total < least or not milestones.is_decidable(index, metric) then return outcome end
  reached_milestones.create()
  if kind < OPERATION_COUNT then by, actor, value = REACHED_BY_SET, values[current_batch.members_at + value], kind end
  if kind == OPERATION_VISIT then value = 1 end
  local is_winner = reached_milestones.names_winner(index, metric, total, value)
  if names_at then
    by, actor = values[names_at + 2 * number - 1], values[names_at + 2 * number]
  elseif is_winner and not by then
    return nil
  end
  reached_milestones.reach(index, metric, total, post[post_record.VERSION] + 1, current_batch.at_ms, actor, session, seq, by, value)
  -- Records travel with counts, and a toggle that is put on changes none.
  if homes.has_any and homes.find(index, metric) then homes.record_count(index) end
  return is_winner and outcome + OUTCOME_REACHED or outcome
end

-- To be called before the operations are applied, if a post of the batch has a milestone that is armed.
-- @return whether a sum of several operations may reach one, or a replay one that this region may not decide about now: see mightReach in
--   milestone-records.ts
local function might_reach()
  if not (current_batch.has_sums or current_batch.is_replay) then return false end
  local is_replay, list, sums, i = current_batch.is_replay, current_batch.values, {}, current_batch.operations_at + 1
  while i <= #list do
    local kind, index, metric, value = list[i], list[i + 1], list[i + 2], list[i + 3]
    i = i + 4
    if kind ~= OPERATION_PUT_OFF then
      if kind >= OPERATION_WITH_SESSION then kind, i = kind - OPERATION_WITH_SESSION, i + 2 end
      kind = kind % OPERATION_FORWARDED
      if kind == OPERATION_VISIT then value, i = 1, i + 2 elseif kind < OPERATION_COUNT then value = kind end
      local least = value > 0 and milestones.least[index] and milestones.least[index][metric]
      if least and not (is_replay and milestones.is_decidable(index, metric)) then
        local id = index .. ' ' .. metric
        sums[id] = (sums[id] or compute_total(records[index], metric)) + value
        if sums[id] >= least then return true end
      end
    end
  end
  return false
end

return { reach = reach, might_reach = might_reach }
