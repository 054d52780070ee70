-- scripts/lib/merge-homes.lua: merges what other regions ship of homes; the meaning is that of home-exchange.ts.
-- @needs bucket version-vector remote-entries posts homes
-- @constants FORMER_HOMES_MAX HOME_NUMBER_JUMP_MAX HOME_STRICT
local merge_homes = {}
local is_created = false

-- To be called before all functions: see lib/milestones.lua.
function merge_homes.create()
  if is_created then return end
  local compare_incarnations, SAME, NEWER, CLASH =
    remote_entries.compare_incarnations, remote_entries.SAME, remote_entries.NEWER, remote_entries.CLASH

  -- Whether a home replaces that of the state.
  local function is_higher(region, number, state)
    if state.region == '' or number ~= state.number then return number > state.number end
    return region > state.region
  end

  local function set_confirmation(state, confirmation)
    for i, one in ipairs(state.confirmations) do
      if one[1] == confirmation[1] then table.remove(state.confirmations, i) break end
    end
    state.confirmations[#state.confirmations + 1] = confirmation
  end

  local function is_latest_incarnation(confirmation, vector)
    local entry = version_vector.entry_for(vector, confirmation[1])
    return compare_incarnations(confirmation[2], confirmation[3], entry.latest_epoch, entry.latest_nonce) == SAME
  end

  -- Fails if a home has a number that no region can have: see home-rules.ts. To be called before anything is merged.
  function merge_homes.assert_possible(index, metric, number)
    local known = homes.find(index, metric)
    local most = (known and known.number or 0) + HOME_NUMBER_JUMP_MAX
    if number <= most then return end
    error(string.format('home of metric %d of post %s has the number %.0f; it must be at most %.0f', metric, posts.names[index], number, most), 0)
  end

  -- @param theirs  a confirmation of another region
  function merge_homes.merge_confirmation(index, metric, theirs, vector)
    if theirs[1] == homes.own_region() or not version_vector.has_room_for(vector, theirs[1]) then return end
    local state = homes.ensure(index, metric)
    for _, known in ipairs(state.confirmations) do
      if known[1] == theirs[1] then
        local order = compare_incarnations(theirs[2], theirs[3], known[2], known[3])
        local is_later = is_higher(theirs[4], theirs[5], { region = known[4], number = known[5] }) or theirs[7] > known[7]
        -- Two incarnations took the same epoch by mistake. The one that went on is known from the region itself.
        local is_latest = order == CLASH and is_latest_incarnation(theirs, vector)
        if order == NEWER or (order == SAME and is_later) or is_latest then break end
        return
      end
    end
    set_confirmation(state, theirs)
  end

  -- Drops what is armed here for other options of a choice, if the home of this one comes first: see yieldOptions in home-exchange.ts.
  local function yield_options(index, metric, region, number, disarm)
    for _, other in ipairs(homes.other_options(metric)) do
      local own = homes.find(index, other)
      local is_home = own and own.region == homes.own_region() and own.mode == HOME_STRICT
      if own and #own.starts > 0 and not (is_home and not is_higher(region, number, own)) then
        homes.ensure(index, other).starts = {}
        disarm(index, other)
      end
    end
  end

  -- Takes over a home of another region if it is higher, and confirms it.
  -- @param disarm  is called if nothing is armed here any more
  function merge_homes.merge_home(index, metric, region, number, mode, disarm)
    local known = homes.find(index, metric) or homes.new_state()
    if region == '' or not is_higher(region, number, known) then return end
    local state = homes.ensure(index, metric)
    state.region, state.number, state.mode, state.is_effective = region, number, mode, 0
    if region == homes.own_region() then return end
    local forwarded_to = { region }
    for _, one in ipairs(state.forwarded_to) do
      if one ~= region and #forwarded_to < FORMER_HOMES_MAX then forwarded_to[#forwarded_to + 1] = one end
    end
    state.starts, state.forwarded_to = {}, forwarded_to
    disarm(index, metric)
    if mode == HOME_STRICT then yield_options(index, metric, region, number, disarm) end
    local stamp = homes.record_count(index)
    set_confirmation(state, { homes.own_region(), bucket.epoch, bucket.nonce, region, number, mode, stamp })
  end

  is_created = true
end

return merge_homes
