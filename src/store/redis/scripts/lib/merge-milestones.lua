-- scripts/lib/merge-milestones.lua: records of milestones that several regions share; the meaning is that of home-exchange.ts.
-- @needs milestones milestone-records reached-milestones
-- @constants MERGED_RECORDS_MAX
local merge_milestones = {}
local is_created = false

-- To be called before all functions: see lib/milestones.lua.
function merge_milestones.create()
  if is_created then return end
  reached_milestones.create()
  local pack, unpack, concat, min, list_changed = cmsgpack.pack, unpack, table.concat, math.min, reached_milestones.list_changed
  local N, VERSION_AFTER, AT, RECORDED_AT = milestone_records.N, milestone_records.VERSION_AFTER, milestone_records.AT, milestone_records.RECORDED_AT
  local IS_MISSED, REGION, IS_FINAL = milestone_records.IS_MISSED, milestone_records.REGION, milestone_records.IS_FINAL

  -- Disarms what `is_wanted` is true for. To be called before `prepare`.
  local function disarm(index, metric, is_wanted)
    local state, left = milestones.ensure_state(index, metric), {}
    for _, n in ipairs(state.armed) do
      if is_wanted(n) then milestones.armed_count = milestones.armed_count - 1 else left[#left + 1] = n end
    end
    if #left == #state.armed then return end
    list_changed(index, metric, state)
    state.armed = left
    if milestones.least[index] then milestones.least[index][metric] = left[1] end
  end

  function merge_milestones.disarm_all(index, metric)
    disarm(index, metric, function() return true end)
  end

  -- Whether a record is taken over before another one where there is no room for both.
  local function precedes(record, other)
    if record[IS_MISSED] ~= other[IS_MISSED] then return record[IS_MISSED] < other[IS_MISSED] end
    return record[N] < other[N]
  end

  -- Keeps records of other regions, and disarms what they are of: see mergeReached in home-exchange.ts.
  -- @param theirs  the values of each
  -- @return whether one of this region came back that is not final
  function merge_milestones.merge_records(index, metric, theirs)
    if #theirs == 0 then return false end
    local state, own, news_by_n, first = milestones.ensure_state(index, metric), {}, {}, {}
    milestone_records.each(reached_milestones.read_records(index, metric, state), function(record) own[#own + 1] = record end)
    local new = {}
    for _, record in ipairs(theirs) do
      local n, is_known, is_first = record[N], false, true
      for _, one in ipairs(own) do
        if one[N] == n then is_known, is_first = is_known or one[IS_FINAL] == 1 or record[IS_FINAL] == 0, false end
      end
      if is_first then new[#new + 1] = record elseif not is_known then news_by_n[n] = record end
    end
    if #new > 1 then table.sort(new, precedes) end
    for i = 1, min(#new, MERGED_RECORDS_MAX - #own) do
      local n = new[i][N]
      news_by_n[n], first[n] = new[i], true
    end
    if not next(news_by_n) then return false end
    local kept, has_open = {}, false
    for _, record in ipairs(own) do
      if not news_by_n[record[N]] then kept[#kept + 1] = pack(unpack(record)) end
    end
    for n, record in pairs(news_by_n) do
      kept[#kept + 1] = pack(unpack(record))
      has_open = has_open or (record[REGION] == '' and record[IS_FINAL] == 0)
      if record[IS_FINAL] == 1 then reached_milestones.list_provisional(index, metric, n, 0) end
      if first[n] then reached_milestones.list_news(index, metric, n, record[VERSION_AFTER], record[AT]) end
    end
    list_changed(index, metric, state)
    state.stored_records, state.new_records, state.record_count = concat(kept), '', #kept
    disarm(index, metric, function(n) return news_by_n[n] end)
    return has_open
  end

  -- Marks own records that no failover can lose any more. @return whether there are any, and whether there are others
  function merge_milestones.finalize(index, metric, final_up_to_ms)
    local state, records, has_changed, has_open = milestones.ensure_state(index, metric), {}, false, false
    if state.record_count == 0 then return false, false end
    milestone_records.each(reached_milestones.read_records(index, metric, state), function(record)
      if record[REGION] == '' and record[IS_FINAL] == 0 then
        local is_final = record[RECORDED_AT] <= final_up_to_ms
        record[IS_FINAL], has_changed, has_open = is_final and 1 or 0, has_changed or is_final, has_open or not is_final
      end
      records[#records + 1] = pack(unpack(record))
    end)
    if not has_changed then return false, has_open end
    list_changed(index, metric, state)
    state.stored_records, state.new_records = concat(records), ''
    return true, has_open
  end

  is_created = true
end

return merge_milestones
