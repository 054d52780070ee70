-- scripts/lib/home-decisions.lua: when a region becomes the home of a metric, when it may decide, and when it lets others count again; the
-- meaning is that of milestone-homes.ts and home-rules.ts.
-- @needs bucket replication-state version-vector remote-entries posts milestones homes
-- @constants FIELD_VERSION_VECTOR HOME_ORDER HOME_RELEASED HOME_STRICT
local home_decisions = {}
local is_created = false
-- The version vector, until the next bucket; a call that merges sets its own.
local vector

-- To be called before all functions but `open`: see lib/milestones.lua.
function home_decisions.create()
  if is_created then return end
  homes.create()
  local compare_incarnations, SAME = remote_entries.compare_incarnations, remote_entries.SAME

  -- Whether this region has everything that another one counted before it confirmed the home: see hasConfirmationOf in home-rules.ts.
  local function has_merged_confirmation_of(region, state)
    for _, one in ipairs(state.confirmations) do
      if one[1] == region then
        if one[4] ~= state.region or one[5] ~= state.number then return false end
        local entry = version_vector.entry_for(vector, region)
        return compare_incarnations(one[2], one[3], entry.latest_epoch, entry.latest_nonce) == SAME
          and compare_incarnations(one[2], one[3], entry.epoch, entry.nonce) == SAME and entry.up_to >= one[7]
      end
    end
    return false
  end

  local function has_confirmation_of(peer, state)
    -- An incarnation that has lost something may have lost another home.
    if not replication_state.is_synced_from(peer) then return false end
    if state.mode == HOME_ORDER and state.is_effective == 1 then return true end
    vector = vector or version_vector.unpack_vector(redis.call('HGET', bucket.key, FIELD_VERSION_VECTOR))
    return has_merged_confirmation_of(peer, state)
  end

  -- @return the regions that have not confirmed that this one decides; none where it does not
  function home_decisions.list_unconfirmed(state)
    local list = {}
    if state.region ~= homes.own_region() or state.mode == HOME_RELEASED then return list end
    replication_state.unpack_state()
    for _, peer in ipairs(homes.peers()) do
      if not has_confirmation_of(peer, state) then list[#list + 1] = peer end
    end
    return list
  end

  function home_decisions.has_all_confirmations(state)
    if state.region ~= homes.own_region() then return false end
    replication_state.unpack_state()
    for _, peer in ipairs(homes.peers()) do
      if not has_confirmation_of(peer, state) then return false end
    end
    return true
  end

  -- @return whether all have confirmed the home, and notes it
  function home_decisions.becomes_effective(index, state)
    if not home_decisions.has_all_confirmations(state) then return false end
    if state.is_effective == 0 then
      state.is_effective = 1
      homes.note_change(index)
    end
    return true
  end

  -- Whether this region may decide about the milestones of a metric now.
  function home_decisions.is_decidable(index, metric)
    local state = homes.find(index, metric)
    if not state then return true end
    if state.region ~= homes.own_region() or state.mode == HOME_RELEASED then return false end
    return home_decisions.becomes_effective(index, state)
  end

  -- Notes which homes all regions have confirmed.
  -- @param changed_count  how many posts have changed
  function home_decisions.note_effective(changed_count)
    for i = 1, changed_count do
      local index = posts.to_publish[i]
      for metric, state in pairs(homes.states[index] or {}) do
        if state.is_effective == 0 then home_decisions.is_decidable(index, metric) end
      end
    end
  end

  function home_decisions.set_home(index, metric, mode)
    local state = homes.ensure(index, metric)
    state.region, state.number, state.mode, state.is_effective = homes.own_region(), state.number + 1, mode, 0
    homes.record_count(index)
  end

  -- Whether this region has confirmed an earlier home, which may still decide: see milestone-homes.ts.
  function home_decisions.is_bound(state)
    if state.region ~= homes.own_region() or state.is_effective == 1 then return false end
    for _, one in ipairs(state.confirmations) do
      if one[1] == homes.own_region() and one[6] == HOME_STRICT then return true end
    end
    return false
  end

  -- Later, if other regions have confirmed an earlier home that may still decide: they would count again.
  function home_decisions.release(index, metric)
    local state = homes.find(index, metric)
    if not state or state.region ~= homes.own_region() or state.mode == HOME_RELEASED then return end
    local must_wait = home_decisions.is_bound(state) and not home_decisions.becomes_effective(index, state)
    if must_wait then return end
    home_decisions.set_home(index, metric, HOME_RELEASED)
    -- No earlier home that this region has confirmed can decide any more.
    for i, one in ipairs(state.confirmations) do
      if one[1] == homes.own_region() then
        table.remove(state.confirmations, i)
        break
      end
    end
  end

  local function is_armed(index, metric, n)
    local state = milestones.read_state(index, metric)
    for _, one in ipairs(state and state.armed or {}) do
      if one == n then return true end
    end
    return false
  end

  -- Claims the home once a start is reached.
  function home_decisions.claim_from(index, metric, total)
    local state = homes.find(index, metric)
    for _, start in ipairs(state and state.starts or {}) do
      if start[2] <= total and is_armed(index, metric, start[1]) then
        if state.region ~= homes.own_region() or state.mode ~= HOME_STRICT then home_decisions.set_home(index, metric, HOME_STRICT) end
        return
      end
    end
  end

  -- Releases once nothing is near: only far below the start, so that a total that goes up and down does not claim and release.
  function home_decisions.release_if_over(index, metric, total)
    local state = homes.find(index, metric)
    if not state or state.mode ~= HOME_STRICT then return end
    for _, start in ipairs(state.starts) do
      local n, from = start[1], start[2]
      if n - total < 2 * (n - from) and is_armed(index, metric, n) then return end
    end
    home_decisions.release(index, metric)
  end

  is_created = true
end

-- Opens the homes of the bucket, too.
-- @param may_be_first  whether the call may give a metric a home in a bucket without homes
function home_decisions.open(may_be_first)
  vector = nil
  homes.open()
  if bucket.own_region < 0 or not (homes.has_any or may_be_first) then return end
  home_decisions.create()
  milestones.is_decidable = home_decisions.is_decidable
end

function home_decisions.set_vector(own_vector)
  vector = own_vector
end

return home_decisions
