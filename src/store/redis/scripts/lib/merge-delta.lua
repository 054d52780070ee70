-- scripts/lib/merge-delta.lua: merges a delta fragment into the posts that were read, which are written afterwards; the meaning is that of
-- merge-delta.ts. The header of merge-deltas-n.lua lists the fragment's values.
-- @needs bucket keys hybrid-clock version-vector msgpack post-record posts members toggle-log registers remote-entries changed-posts
-- @needs milestones milestone-records reached-milestones merge-milestones homes home-decisions merge-homes
-- @constants HOME_ORDER REACHED_BY_ADJUST REACHED_BY_SET RECORD_VALUES FRAGMENT_HEADER_VALUES FROM_MEMBERS FROM_REPAIR TAG_MEMBERS TAG_P TAG_N TAGS_PER_METRIC
local min, max = math.min, math.max
local get_field, set_field, compute_total = post_record.get_field, post_record.set_field, post_record.compute_total
local UPDATED_AT = post_record.UPDATED_AT
local names, records, is_changed = posts.names, posts.records, posts.is_changed
local RECORD_REGION = milestone_records.REGION
local OLDER, CLASH, compare_incarnations = remote_entries.OLDER, remote_entries.CLASH, remote_entries.compare_incarnations

-- The current fragment: its values; the source and its stamps; after which of the values things are; how many they are.
local fragment = {
  values = {},
  source = { region = '', epoch = 0, nonce = 0, started_at_stamp = 0, after = 0, up_to = 0, acked_up_to = 0, stable_stamp = 0,
    receiver_epoch = 0, receiver_nonce = 0, number = 0 },
  offsets = { posts = 0, times = 0, incarnations = 0, entries = 0, toggles = 0, predecessors = 0, homes = 0 },
  counts = { posts = 0, entries = 0, toggles = 0, predecessors = 0, homes = 0 },
  -- Ids of the toggles: set and actor.
  toggle_ids = {},
  -- By toggle: whether it was on when it was read, and whether it is on (1 or 0); stamps of updates that were taken.
  was_on = {}, is_on = {}, taken_stamps = {},
  -- Stamps of the change feed's new entries, by post or toggle.
  forwarded = {},
  -- This region, its version vector, and whether that has changed.
  own_region = '', vector = {}, is_vector_changed = false,
}
-- By toggle: stamp of its latest update that is known here.
local latest_stamps

-- @param own_region  name of this region
local function parse(packed, own_region)
  local values = msgpack.unpack_list(packed)
  local source, offsets, counts = fragment.source, fragment.offsets, fragment.counts
  source.region, source.epoch, source.nonce, source.started_at_stamp = values[2], values[3], values[4], values[5]
  source.after, source.up_to, source.acked_up_to, source.stable_stamp = values[6], values[7], values[8], values[9]
  source.receiver_epoch, source.receiver_nonce, source.number = values[10], values[11], values[12]
  counts.posts, counts.entries, counts.toggles, counts.predecessors = values[13], values[15], values[16], values[17]
  counts.homes = values[18]
  -- The first value is an offset: see lib/msgpack.lua.
  offsets.posts = 1 + FRAGMENT_HEADER_VALUES
  offsets.times = offsets.posts + 2 * counts.posts
  offsets.incarnations = offsets.times + counts.posts
  offsets.entries = offsets.incarnations + 3 * values[14]
  offsets.toggles = offsets.entries + 5 * counts.entries
  offsets.predecessors = offsets.toggles + 6 * counts.toggles
  offsets.homes = offsets.predecessors + 2 * counts.predecessors
  fragment.values, fragment.own_region = values, own_region
end

-- In `order` what another region has counted is ordered when it is merged.
-- @param by  what the total has grown by
local function reach(index, metric, kind, actor, by)
  local state = by > 0 and homes.find(index, metric)
  if not state or state.region == '' or state.mode ~= HOME_ORDER or not home_decisions.is_decidable(index, metric) then return end
  local least, post = milestones.least[index] and milestones.least[index][metric], records[index]
  local total = compute_total(post, metric)
  if not least or total < least then return end
  local at_ms = hybrid_clock.to_wall_ms(bucket.clock)
  reached_milestones.create()
  reached_milestones.reach(index, metric, total, post[post_record.VERSION] + 1, at_ms, actor, '', 0, kind, by)
end

-- Merges another region's copy of this region's entry: nothing new, unless this store has lost something.
local function merge_own(index, metric, epoch, nonce, p, n)
  local post, tag = records[index], TAGS_PER_METRIC * metric
  local own_p, own_n = get_field(post, tag + TAG_P), get_field(post, tag + TAG_N)
  if compare_incarnations(epoch, nonce, bucket.epoch, bucket.nonce) ~= OLDER or (p == own_p and n == own_n) then return end
  local total = bucket.is_recording and compute_total(post, metric)
  if bucket.is_backfilling == 1 then own_p, own_n = max(p, own_p), max(n, own_n) end
  set_field(post, tag + TAG_P, own_p)
  if own_n > 0 then set_field(post, tag + TAG_N, own_n) end
  if total then changed_posts.move_sum(post, metric, total) end
  is_changed[index] = 1
  -- Sent to all regions, even if the count here is 0.
  fragment.forwarded[names[index]] = hybrid_clock.now(0)
end

-- @param i  the value before the entry
local function merge_entry(i)
  local values, vector = fragment.values, fragment.vector
  local index, metric, p, n = values[i + 1], values[i + 2], values[i + 4], values[i + 5]
  local last = fragment.offsets.incarnations + 3 * values[i + 3]
  local remote = { region = values[last - 2], epoch = values[last - 1], nonce = values[last] }
  if remote.region == fragment.own_region then return merge_own(index, metric, remote.epoch, remote.nonce, p, n) end
  if not version_vector.has_room_for(vector, remote.region) then return end
  -- An older incarnation may have counted what its region has lost since: that is not counted here, either.
  local entry = version_vector.entry_for(vector, remote.region)
  local order = compare_incarnations(remote.epoch, remote.nonce, entry.latest_epoch, entry.latest_nonce)
  if order == OLDER or order == CLASH then return end
  local is_latest = version_vector.learn_incarnation(vector, remote.region, remote.epoch, remote.nonce)
  fragment.is_vector_changed = fragment.is_vector_changed or is_latest
  local post = records[index]
  local total = (bucket.is_recording or homes.has_any) and compute_total(post, metric)
  if remote_entries.merge_entry(post, metric, remote, p, n) then
    is_changed[index] = 1
    if bucket.is_recording then changed_posts.move_sum(post, metric, total) end
    if homes.has_any then reach(index, metric, REACHED_BY_ADJUST, '', compute_total(post, metric) - total) end
  end
end

local function read_toggles()
  local values, offsets = fragment.values, fragment.offsets
  local ids, sets, actors, least, was_on, is_on = {}, {}, {}, math.huge, {}, {}
  for i = offsets.toggles + 1, offsets.predecessors, 6 do
    local index, metric, actor, stamp = values[i], values[i + 1], values[i + 2], values[i + 3]
    local set = toggle_log.set_name(names[index], metric)
    local id = toggle_log.toggle_name(set, actor)
    ids[#ids + 1], sets[#sets + 1], actors[#actors + 1] = id, set, actor
    least = min(least, values[i + 5] == FROM_REPAIR and 0 or stamp)
    if was_on[id] == nil then was_on[id] = redis.call('SISMEMBER', keys.track_key(members.chunk_key(index, metric, actor)), actor) end
    is_on[id] = was_on[id]
  end
  latest_stamps = {}
  for i, stamp in ipairs(registers.read_stamps(sets, actors, max(least, bucket.stable_stamp + 1))) do latest_stamps[ids[i]] = stamp end
  fragment.toggle_ids, fragment.was_on, fragment.is_on, fragment.taken_stamps = ids, was_on, is_on, {}
end

local function set_member(index, metric, actor, id, on)
  local tag = TAGS_PER_METRIC * metric + TAG_MEMBERS
  local post, change = records[index], 2 * on - 1
  local total = bucket.is_recording and compute_total(post, metric)
  fragment.is_on[id] = on
  set_field(post, tag, get_field(post, tag) + change)
  if total then
    changed_posts.move_sum(post, metric, total, change)
    if bucket.records_members then changed_posts.record_member(index, metric, actor) end
  end
  is_changed[index] = 1
  if homes.has_any then reach(index, metric, REACHED_BY_SET, actor, on) end
end

-- A post that is not idle at the source is not repaired. Else the first fragment of its delta would be merged, and make it recent.
-- @return whether the toggle has changed
local function repair_toggle(index, metric, actor, id, since, on)
  local updated_at = max(records[index][UPDATED_AT], fragment.values[fragment.offsets.times + index])
  local is_recent = updated_at >= hybrid_clock.to_wall_ms(since)
  if fragment.is_on[id] == on or latest_stamps[id] > bucket.stable_stamp or is_recent then return false end
  set_member(index, metric, actor, id, on)
  return true
end

-- @return whether the toggle has changed
local function merge_toggle(i, id)
  local values, is_on = fragment.values, fragment.is_on
  local index, metric, actor, stamp, on, basis = unpack(values, i + 1, i + 6)
  if basis == FROM_REPAIR then return repair_toggle(index, metric, actor, id, stamp, on) end
  local is_from_members = basis == FROM_MEMBERS
  if not is_from_members then hybrid_clock.receive(stamp) end
  local latest = max(latest_stamps[id], bucket.stable_stamp)
  -- An incarnation whose clock was set back may reuse a stamp of an update that was lost: of two such updates `on` wins.
  local is_reused = not is_from_members and stamp == latest and stamp > bucket.stable_stamp and on == 1 and is_on[id] == 0
  if (stamp <= latest and not is_reused) or (is_from_members and is_on[id] == on) then return false end
  latest_stamps[id], fragment.taken_stamps[id] = stamp, stamp
  local has_changed = is_on[id] ~= on
  if has_changed then set_member(index, metric, actor, id, on) end
  -- The origin may have lost this update before replicating it everywhere, so it is forwarded as a new change.
  local is_from_origin = hybrid_clock.read_region_number(stamp) == fragment.source.number
  if not is_from_members and not is_from_origin then fragment.forwarded[id] = hybrid_clock.now(0) end
  return has_changed
end

-- Fails if a home has an impossible number.
local function assert_possible_homes()
  local values, i = fragment.values, fragment.offsets.homes
  for _ = 1, fragment.counts.homes do
    merge_homes.assert_possible(values[i + 1], values[i + 2], values[i + 4])
    i = i + 6 + 7 * values[i + 6]
    i = i + 1 + RECORD_VALUES * values[i + 1]
  end
end

-- Merges what the source has about the home of a metric, after its counts.
-- @param i  the value before it
-- @return the last value of it
local function merge_home(i)
  local values = fragment.values
  local index, metric, region, number, mode, confirmations = unpack(values, i + 1, i + 6)
  local theirs = {}
  i = i + 6 + 7 * confirmations
  for record = 1, values[i + 1] do
    local first = i + 2 + RECORD_VALUES * (record - 1)
    theirs[record] = { unpack(values, first, first + RECORD_VALUES - 1) }
    if theirs[record][RECORD_REGION] == fragment.own_region then theirs[record][RECORD_REGION] = '' end
  end
  if merge_milestones.merge_records(index, metric, theirs) then homes.note_unsettled(index) end
  for first = i - 7 * confirmations + 1, i, 7 do merge_homes.merge_confirmation(index, metric, { unpack(values, first, first + 6) }, fragment.vector) end
  merge_homes.merge_home(index, metric, region, number, mode, merge_milestones.disarm_all)
  return i + 1 + RECORD_VALUES * #theirs
end

-- Post by post. @return the toggles that have changed: index, 1 if it is on else 0, the next index …; length of that list
local function merge()
  local values, offsets, counts, ids = fragment.values, fragment.offsets, fragment.counts, fragment.toggle_ids
  local list, last, entry, toggle, home_at, home = {}, 0, 0, 0, offsets.homes, 0
  if counts.homes > 0 then
    merge_milestones.create()
    merge_homes.create()
    assert_possible_homes()
  end
  for index = 1, counts.posts do
    while entry < counts.entries and values[offsets.entries + 5 * entry + 1] == index do
      merge_entry(offsets.entries + 5 * entry)
      entry = entry + 1
    end
    while toggle < counts.toggles and values[offsets.toggles + 6 * toggle + 1] == index do
      local i = offsets.toggles + 6 * toggle
      toggle = toggle + 1
      if merge_toggle(i, ids[toggle]) then
        list[last + 1], list[last + 2] = toggle, values[i + 5]
        last = last + 2
      end
    end
    while home < counts.homes and values[home_at + 1] == index do
      home_at, home = merge_home(home_at), home + 1
    end
    if is_changed[index] == 1 then records[index][UPDATED_AT] = max(records[index][UPDATED_AT], values[offsets.times + index]) end
  end
  return list, last
end

return { fragment = fragment, parse = parse, read_toggles = read_toggles, merge = merge }
