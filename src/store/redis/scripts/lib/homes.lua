-- scripts/lib/homes.lua: which region decides about milestones; the meaning is that of milestone-homes.ts and home-exchange.ts. A bucket
-- without milestones pays nothing; one in which no metric has or had a home pays for reading two fields.
-- @needs bucket keys hybrid-clock replication-state version-vector remote-entries posts post-record milestones
-- @constants VALUES_AT_ONCE FIELD_FORWARD_MARKS FIELD_HOMES FIELD_VERSION_VECTOR FORMER_HOMES_MAX HOME_ORDER HOME_RELEASED HOME_STRICT
-- @constants KEY_FORWARD_MARKS KEY_HOMES MARK_GENERATION_MAX MARK_GENERATION_MS
local homes = {
  -- Whether a metric of the bucket has or had a home.
  has_any = false,
  -- By index of the post and metric: see `unpack_states`.
  states = {},
  -- Whether operations of the batch wait for earlier ones of their sessions.
  has_awaited = false,
}
-- Name of this region, and those of all others; `names` until they are needed.
local names, own_region, peers
-- Called with the index of a post whose home has changed, so that other regions get it.
local record_count
local are_functions_created = false

-- The field `homes`: how many posts have an entry in the hash `homes`, and their names if they are at most LISTED_MAX.
local post_count, listed, LISTED_MAX = 0, nil, 16
-- Posts whose entry has changed.
local changed = {}
-- The version vector, until the next bucket; a call that merges sets its own.
local vector
-- The generation of forward marks: its number, and when it began (ms).
local generation, generation_started_ms, has_new_generation = 1, 0, false
-- By session and region: marks that this call sets.
local new_marks, new_marks_count = {}, 0
-- By session: the region of all its operations in the batch that are ELSEWHERE, false if there are several or they wait here.
local awaited = {}

-- Creates what each call about a bucket with homes needs: see lib/milestones.lua.
local function create_functions()
  are_functions_created = true
  local call, pack, unpack, unpack_values, min = redis.call, cmsgpack.pack, unpack, cmsgpack.unpack, math.min
  local compare_incarnations, SAME, NEWER, CLASH =
    remote_entries.compare_incarnations, remote_entries.SAME, remote_entries.NEWER, remote_entries.CLASH
  local states, compute_total = homes.states, post_record.compute_total

  local function parse_names()
    if own_region then return end
    peers = {}
    for name in string.gmatch(names, '[^,]+') do
      if own_region then peers[#peers + 1] = name else own_region = name end
    end
  end

  function homes.own_region()
    parse_names()
    return own_region
  end

  -- @return the state of a metric without a home. `region` is empty: it has none; of a confirmation: region, epoch, nonce, the home's region,
  --         number and mode, stamp
  function homes.new_state()
    return { region = '', number = 0, mode = HOME_RELEASED, is_effective = 0, confirmations = {}, starts = {}, forwarded_to = {} }
  end

  -- @param packed  an entry of the hash `homes`, false if there is none
  -- @return the states by metric
  function homes.unpack_states(packed)
    local by_metric, values, i = {}, packed and { unpack_values(packed) } or {}, 1
    local function take(count, size)
      local list = {}
      for item = 1, count do
        list[item] = size == 1 and values[i] or { unpack(values, i, i + size - 1) }
        i = i + size
      end
      return list
    end
    while i < #values do
      local metric, confirmations, starts, forwarded = values[i], values[i + 5], values[i + 6], values[i + 7]
      local state = { region = values[i + 1], number = values[i + 2], mode = values[i + 3], is_effective = values[i + 4] }
      i = i + 8
      state.confirmations, state.starts, state.forwarded_to = take(confirmations, 7), take(starts, 2), take(forwarded, 1)
      by_metric[metric] = state
    end
    return by_metric
  end

  local function pack_states(by_metric)
    local values = {}
    local function add(...)
      for _, value in ipairs({ ... }) do values[#values + 1] = value end
    end
    for metric, state in pairs(by_metric) do
      add(metric, state.region, state.number, state.mode, state.is_effective, #state.confirmations, #state.starts, #state.forwarded_to)
      for _, confirmation in ipairs(state.confirmations) do add(unpack(confirmation)) end
      for _, start in ipairs(state.starts) do add(unpack(start)) end
      add(unpack(state.forwarded_to))
    end
    return pack(unpack(values))
  end

  function homes.open_bucket()
    local field, marks_field = unpack(call('HMGET', bucket.key, FIELD_HOMES, FIELD_FORWARD_MARKS))
    homes.has_any = field and true
    for index in pairs(states) do states[index] = nil end
    changed, vector, new_marks, new_marks_count, has_new_generation = {}, nil, {}, 0, false
    awaited, homes.has_awaited = {}, false
    post_count, listed, generation, generation_started_ms = 0, {}, 1, 0
    if not field then return end
    local values = { unpack_values(field) }
    post_count = table.remove(values, 1)
    listed = post_count <= LISTED_MAX and values or nil
    if marks_field then generation, generation_started_ms = unpack_values(marks_field) end
  end

  -- Reads the states of the first `count` posts that were read.
  function homes.read(count)
    local wanted = {}
    for index = 1, count do
      local is_wanted = not listed
      for _, name in ipairs(listed or {}) do is_wanted = is_wanted or name == posts.names[index] end
      if is_wanted then wanted[#wanted + 1] = index end
    end
    for first = 1, #wanted, VALUES_AT_ONCE do
      local last, fields = min(#wanted, first + VALUES_AT_ONCE - 1), {}
      for i = first, last do fields[i - first + 1] = posts.names[wanted[i]] end
      local found = call('HMGET', keys.track_key(bucket.key .. KEY_HOMES), unpack(fields))
      for i = first, last do
        if found[i - first + 1] then states[wanted[i]] = homes.unpack_states(found[i - first + 1]) end
      end
    end
  end

  -- @return names of all posts with an entry, and the entries
  function homes.read_all()
    local entries, all = call('HGETALL', keys.track_key(bucket.key .. KEY_HOMES)), {}
    for i = 1, #entries, 2 do all[#all + 1] = { entries[i], entries[i + 1] } end
    return all
  end

  function homes.find(index, metric)
    return states[index] and states[index][metric]
  end

  function homes.ensure(index, metric)
    local by_metric = states[index]
    if not by_metric then
      by_metric = {}
      states[index] = by_metric
    end
    by_metric[metric] = by_metric[metric] or homes.new_state()
    changed[index], homes.has_any, milestones.is_decidable = true, true, homes.is_decidable
    return by_metric[metric]
  end

  function homes.set_vector(own_vector)
    vector = own_vector
  end

  -- Whether this region has everything that another one counted before it confirmed the home: see isConfirmedBy in home-rules.ts.
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
    vector = vector or version_vector.unpack_vector(call('HGET', bucket.key, FIELD_VERSION_VECTOR))
    return has_merged_confirmation_of(peer, state)
  end

  -- @return the regions that have not confirmed that this one decides; none where it does not
  function homes.list_unconfirmed(state)
    local list = {}
    if state.region ~= homes.own_region() or state.mode == HOME_RELEASED then return list end
    replication_state.unpack_state()
    for _, peer in ipairs(peers) do
      if not has_confirmation_of(peer, state) then list[#list + 1] = peer end
    end
    return list
  end

  local function has_all_confirmations(state)
    if state.region ~= homes.own_region() then return false end
    replication_state.unpack_state()
    for _, peer in ipairs(peers) do
      if not has_confirmation_of(peer, state) then return false end
    end
    return true
  end

  -- @return whether all have confirmed the home, and notes it
  local function becomes_effective(index, state)
    if not has_all_confirmations(state) then return false end
    if state.is_effective == 0 then state.is_effective, changed[index] = 1, true end
    return true
  end

  -- Whether this region may decide about the milestones of a metric now.
  function homes.is_decidable(index, metric)
    local state = homes.find(index, metric)
    if not state then return true end
    if state.region ~= homes.own_region() or state.mode == HOME_RELEASED then return false end
    return becomes_effective(index, state)
  end

  -- Notes which homes all regions have confirmed.
  -- @param changed_count  how many posts have changed
  function homes.note_effective(changed_count)
    for i = 1, changed_count do
      local index = posts.to_publish[i]
      for metric, state in pairs(states[index] or {}) do
        if state.is_effective == 0 then homes.is_decidable(index, metric) end
      end
    end
  end

  function homes.set_home(index, metric, mode)
    local state = homes.ensure(index, metric)
    state.region, state.number, state.mode, state.is_effective = homes.own_region(), state.number + 1, mode, 0
    record_count(index)
  end

  function homes.release(index, metric)
    local state = homes.find(index, metric)
    if state and state.region == homes.own_region() and state.mode ~= HOME_RELEASED then homes.set_home(index, metric, HOME_RELEASED) end
  end

  local function is_armed(index, metric, n)
    local state = milestones.read_state(index, metric)
    for _, one in ipairs(state and state.armed or {}) do
      if one == n then return true end
    end
    return false
  end

  -- Claims the home once a start is reached.
  function homes.claim_from(index, metric, total)
    local state = homes.find(index, metric)
    for _, start in ipairs(state and state.starts or {}) do
      if start[2] <= total and is_armed(index, metric, start[1]) then
        if state.region ~= homes.own_region() or state.mode ~= HOME_STRICT then homes.set_home(index, metric, HOME_STRICT) end
        return
      end
    end
  end

  -- Releases once nothing is near: only far below the start, so that a total that goes up and down does not claim and release.
  function homes.release_if_over(index, metric, total)
    local state = homes.find(index, metric)
    if not state or state.mode ~= HOME_STRICT then return end
    for _, start in ipairs(state.starts) do
      local n, from = start[1], start[2]
      if n - total < 2 * (n - from) and is_armed(index, metric, n) then return end
    end
    homes.release(index, metric)
  end

  local function is_frozen(state)
    return state and state.region ~= '' and state.mode == HOME_STRICT and state.region ~= homes.own_region()
  end

  local function marks_key(number)
    return keys.track_key(bucket.key .. KEY_FORWARD_MARKS .. number)
  end

  -- @param others  metrics that an operation puts off
  -- @return the region to which the operation was forwarded before, for whichever of its metrics; nil if it was not
  local function find_forwarded(index, metric, others, session, seq)
    local regions, fields = {}, {}
    for i = 0, #others do
      local state = homes.find(index, i == 0 and metric or others[i])
      for _, region in ipairs(state and state.forwarded_to or {}) do
        regions[#regions + 1], fields[#fields + 1] = region, session .. ' ' .. region
      end
    end
    if #fields == 0 then return nil end
    local current, previous = call('HMGET', marks_key(generation), unpack(fields)), call('HMGET', marks_key(generation - 1), unpack(fields))
    for i, region in ipairs(regions) do
      local mark = new_marks[fields[i]] or tonumber(current[i] or previous[i] or 0)
      if seq <= mark then return region end
    end
  end

  -- @param others  metrics that an operation puts off
  -- @return the metric that makes it an operation of another region
  local function find_frozen(index, metric, others)
    if is_frozen(homes.find(index, metric)) then return metric end
    for _, other in ipairs(others) do
      if is_frozen(homes.find(index, other)) then return other end
    end
  end

  -- @param session  its key in decimal, empty for none
  -- @return the region that has to do an operation that is not admitted, false: it has to wait here
  function homes.forward_to(index, metric, session, seq, is_forwarded, others)
    local is_new = session == '' or is_forwarded
    local before = not is_new and find_forwarded(index, metric, others, session, seq)
    if before then return before end
    local frozen = find_frozen(index, metric, others)
    return frozen and homes.find(index, frozen).region or false
  end

  -- Begins a generation of forward marks if the current one is old or full: see lib/marks.lua.
  function homes.begin_generation(at_ms)
    local is_over = at_ms >= generation_started_ms + MARK_GENERATION_MS or call('HLEN', marks_key(generation)) >= MARK_GENERATION_MAX
    if not is_over then return end
    marks_key(generation - 1)
    generation, generation_started_ms, has_new_generation = generation + 1, at_ms, true
  end

  -- Whether another region has to do an operation. Notes that it is forwarded.
  -- @param session  its key in decimal, empty for none
  -- @param others   metrics that it puts off
  local function is_elsewhere(index, metric, session, seq, is_forwarded, others)
    local is_new = session == '' or is_forwarded
    if not is_new and find_forwarded(index, metric, others, session, seq) then return true end
    local frozen = find_frozen(index, metric, others)
    if not frozen or session == '' then return frozen and true end
    local field = session .. ' ' .. homes.find(index, frozen).region
    if not new_marks[field] then new_marks_count = new_marks_count + 1 end
    new_marks[field] = seq
    return true
  end

  -- Whether this region has confirmed an earlier home, which may still decide: see milestone-homes.ts.
  local function is_bound(state)
    if state.region ~= homes.own_region() or state.is_effective == 1 then return false end
    for _, one in ipairs(state.confirmations) do
      if one[1] == own_region and one[6] == HOME_STRICT then return true end
    end
    return false
  end

  -- @param value  what an operation may add. See `admits` in milestone-homes.ts
  local function admits(index, metric, value, session, seq, is_forwarded, others)
    if is_elsewhere(index, metric, session, seq, is_forwarded, others) then return false end
    local state = homes.find(index, metric)
    if not state then return true end
    if is_bound(state) and not becomes_effective(index, state) then return false end
    if value <= 0 then return true end
    local total = compute_total(posts.records[index], metric)
    homes.release_if_over(index, metric, total)
    homes.claim_from(index, metric, total + value)
    if #state.starts == 0 then return true end
    local armed = milestones.read_state(index, metric)
    local least = armed and armed.armed[1]
    return not least or least > total + value or has_all_confirmations(state)
  end

  -- Whether an operation that is no duplicate may be applied here, and no earlier one of its session in the batch is ELSEWHERE: see apply.ts.
  function homes.is_admitted(index, metric, value, session, seq, is_forwarded, others)
    local region = awaited[session]
    local must_wait = region ~= nil and (not region or region ~= homes.forward_to(index, metric, session, seq, is_forwarded, others))
    if not must_wait and admits(index, metric, value, session, seq, is_forwarded, others) then return true end
    if session ~= '' then
      local own = region ~= false and homes.forward_to(index, metric, session, seq, is_forwarded, others)
      awaited[session], homes.has_awaited = (region == nil or region == own) and own, true
    end
    return false
  end

  -- Reads what `write` needs: see lib/milestones.lua. @return whether there is something to be written
  function homes.prepare()
    local is_changed = next(changed) ~= nil
    if is_changed then call('HLEN', keys.track_key(bucket.key .. KEY_HOMES)) end
    return is_changed or has_new_generation or new_marks_count > 0
  end

  local function list_post(name)
    for _, one in ipairs(listed or {}) do
      if one == name then return end
    end
    if listed then listed[#listed + 1] = name end
  end

  -- The field `milestones` exists wherever the field `homes` does.
  function homes.write()
    if next(changed) then
      for index in pairs(changed) do
        post_count = post_count + call('HSET', bucket.key .. KEY_HOMES, posts.names[index], pack_states(states[index]))
        list_post(posts.names[index])
      end
      if post_count > LISTED_MAX then listed = nil end
      call('HSET', bucket.key, FIELD_HOMES, pack(post_count, unpack(listed or {})))
      milestones.write_field(0)
    end
    if has_new_generation then
      call('HSET', bucket.key, FIELD_FORWARD_MARKS, pack(generation, generation_started_ms))
      call('UNLINK', bucket.key .. KEY_FORWARD_MARKS .. (generation - 2))
    end
    for field, seq in pairs(new_marks) do call('HSET', bucket.key .. KEY_FORWARD_MARKS .. generation, field, seq) end
    changed, new_marks, new_marks_count, has_new_generation = {}, {}, 0, false
  end

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

  local function is_latest_incarnation(confirmation)
    local entry = version_vector.entry_for(vector, confirmation[1])
    return compare_incarnations(confirmation[2], confirmation[3], entry.latest_epoch, entry.latest_nonce) == SAME
  end

  -- @param theirs  a confirmation of another region
  function homes.merge_confirmation(index, metric, theirs)
    if theirs[1] == homes.own_region() or not version_vector.has_room_for(vector, theirs[1]) then return end
    local state = homes.ensure(index, metric)
    for _, known in ipairs(state.confirmations) do
      if known[1] == theirs[1] then
        local order = compare_incarnations(theirs[2], theirs[3], known[2], known[3])
        local is_later = is_higher(theirs[4], theirs[5], { region = known[4], number = known[5] }) or theirs[7] > known[7]
        -- Two incarnations took the same epoch by mistake. The one that went on is known from the region itself.
        local is_latest = order == CLASH and is_latest_incarnation(theirs)
        if order == NEWER or (order == SAME and is_later) or is_latest then break end
        return
      end
    end
    set_confirmation(state, theirs)
  end

  -- Takes over a home of another region if it is higher, and confirms it.
  -- @param disarm  is called if nothing is armed here any more
  function homes.merge_home(index, metric, region, number, mode, disarm)
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
    local stamp = record_count(index)
    set_confirmation(state, { own_region, bucket.epoch, bucket.nonce, region, number, mode, stamp })
  end
end

-- @param names_of_regions  of this one and all others, with commas between them
-- @param on_change         is called with the index of a post whose home has changed. @return the stamp of the change
function homes.configure(names_of_regions, on_change)
  names, record_count = names_of_regions, on_change
end

-- To be called after `milestones.open`.
function homes.open()
  homes.has_any = false
  if bucket.own_region < 0 or not milestones.has_any then return end
  if not are_functions_created then create_functions() end
  milestones.create_writers()
  homes.open_bucket()
  if homes.has_any then milestones.is_decidable = homes.is_decidable end
end

return homes
