#!lua flags=allow-oom
-- Reads what has changed here after a stamp, newest state only; the meaning is that of advanceStability in replication-state.ts and of
-- buildDelta in build-delta.ts. Removes change feed entries and registers that no region needs any more, a bounded number at a time.
--
-- KEYS[i]  tc:{b}    the bucket's hash; derived from it: chunks of posts and members, change feed, toggle logs, registers
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of an incarnation that starts, a blank, wall time (ms since 1970)
-- ARGV[3]  number of this region
-- ARGV[4]  1 if slots may move (a cluster), else 0
-- ARGV[5]  name of this region, and names of all others, JSON array
-- ARGV[6]  changes of a bucket, about
-- ARGV[7]  changes of all buckets, about; the buckets after them are skipped
-- ARGV[7 + i]  of bucket i msgpack values: how many values follow; the stamp; the one up to which all peers have acked
-- Returns  for each bucket a string: nothing if it was skipped; "-" and an error; or msgpack values, one of
--            0: the change feed no longer goes back to the stamp
--            1, epoch, nonce, startedAtStamp, ackedUpTo, stableStamp, stamp up to which these are all changes
--              number of predecessors, for each: epoch, nonce
--              number of posts, for each: its name, 1 if its counts have changed else 0, its record
--              number of toggles, for each: index of its post from 0, metric, the actor's key in decimal, stamp, 1 if it is on else 0
--              number of homes, for each: index of its post from 0, and what lib/build-homes.lua lists
-- @include bucket keys incarnation hybrid-clock replication-state version-vector msgpack post-record posts members toggle-log registers
-- @include milestones homes build-homes error-reply
-- @constants VALUES_AT_ONCE CHANGES_FORGOTTEN CHANGES_FOUND FIELD_MILESTONES FIELD_VERSION_VECTOR FIELD_REGISTERS
-- @constants KEY_CHANGE_FEED KEY_LOCAL_LOG KEY_REMOTE_LOG
local call, unpack, pack, min, max = redis.call, unpack, cmsgpack.pack, math.min, math.max
bucket.own_region, bucket.slots_may_move = tonumber(ARGV[3]), ARGV[4] == '1'
local peers, limit, budget = cjson.decode(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local stamp_text = hybrid_clock.stamp_text
homes.configure(table.remove(peers, 1), nil)

-- Posts of the reply by index from 0, and indices by name; their records are in lib/posts.lua, too.
local indices, packed_records

-- @param acked  up to where all peers have acked
local function advance_stability(acked, vector)
  local is_synced = bucket.synced_at_stamp == 0
  for _, peer in ipairs(peers) do is_synced = is_synced and replication_state.is_synced_from(peer) end
  local before = { bucket.synced_at_stamp, bucket.acked_up_to, bucket.stable_stamp, bucket.dropped_up_to }
  bucket.dropped_up_to = max(bucket.dropped_up_to, acked)
  if is_synced then bucket.synced_at_stamp = bucket.clock end
  local is_complete = bucket.synced_at_stamp > 0 and acked >= bucket.synced_at_stamp
  bucket.acked_up_to = max(bucket.acked_up_to, is_complete and acked or min(acked, bucket.complete_up_to))
  local stable = bucket.acked_up_to
  for _, peer in ipairs(peers) do
    local entry = version_vector.entry_for(vector, peer)
    -- This store may have lost since what a peer has acked.
    stable = min(stable, entry.acked_up_to, entry.up_to)
  end
  bucket.stable_stamp = max(bucket.stable_stamp, stable)
  local after = { bucket.synced_at_stamp, bucket.acked_up_to, bucket.stable_stamp, bucket.dropped_up_to }
  for i, stamp in ipairs(after) do bucket.is_state_changed = bucket.is_state_changed or stamp ~= before[i] end
end

-- Local toggle updates after a stamp, each toggle once, at its latest: a list of {stamp, set, actor}.
local function read_updates(after)
  local updates, latest_stamps = {}, {}
  toggle_log.each_group(call('XRANGE', bucket.key .. KEY_LOCAL_LOG, stamp_text(after + 1), '+'), function(set, stamp, list, from, to)
    local by_actor = latest_stamps[set] or {}
    latest_stamps[set] = by_actor
    for i = from, to do
      by_actor[list[i]] = stamp
      updates[#updates + 1] = { stamp, set, list[i] }
    end
  end)
  local latest = {}
  for _, update in ipairs(updates) do
    if latest_stamps[update[2]][update[3]] == update[1] then latest[#latest + 1] = update end
  end
  return latest
end

-- Change feed entries and local updates after a stamp, all of a stamp or none.
-- @return entries, updates, stamp of the last if there are more
local function read_changes(after)
  local key, low = bucket.key .. KEY_CHANGE_FEED, '(' .. stamp_text(after)
  local entries = call('ZRANGEBYSCORE', key, low, '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
  local updates = bucket.local_log_written > bucket.local_log_removed and read_updates(after) or {}
  local i, j, last = 2, 1, nil
  if #entries / 2 + #updates < limit then return call('ZRANGEBYSCORE', key, low, '+inf'), updates end
  for _ = 1, limit do
    local a, b = tonumber(entries[i]) or math.huge, updates[j] and updates[j][1] or math.huge
    if a <= b then last, i = a, i + 2 else last, j = b, j + 1 end
  end
  while updates[j] and updates[j][1] == last do j = j + 1 end
  local has_more = updates[j] or call('ZCOUNT', key, '(' .. stamp_text(last), '+inf') > 0
  for more = #updates, j, -1 do updates[more] = nil end
  return call('ZRANGEBYSCORE', key, low, stamp_text(last)), updates, has_more and last or nil
end

-- Index of the post from 0; it is read if it has none.
local function index_of(name)
  local index = indices[name]
  if index then return index end
  index = #packed_records
  local record = call('HGET', posts.chunk_key(name), name)
  indices[name], packed_records[index + 1] = index, record or ''
  posts.names[index + 1], posts.records[index + 1] = name, post_record.decode(record)
  return index
end

-- @param forwarded  toggles (post, metric, actor) that are sent again, whatever their stamp is
-- @return sets, actors and latest stamps of the toggles, which may be stable
local function read_latest(updates, forwarded)
  local sets, actors, stamps = {}, {}, {}
  for i, update in ipairs(updates) do stamps[i], sets[i], actors[i] = update[1], update[2], update[3] end
  for _, toggle in ipairs(forwarded) do sets[#sets + 1], actors[#actors + 1] = toggle_log.parse_toggle(toggle) end
  local logs, least = nil, bucket.stable_stamp + 1
  if #forwarded == 0 then
    logs, least = bucket.remote_log_written > bucket.remote_log_removed and { bucket.key .. KEY_REMOTE_LOG } or {}, max(least, stamps[1] or 0)
  end
  for i, stamp in ipairs(registers.read_stamps(sets, actors, least, logs)) do stamps[i] = max(stamps[i] or 0, stamp) end
  return sets, actors, stamps
end

-- @param actors_by_key  actors by the key of their chunk: those of a chunk are read by one command
-- @return by key and actor: 1 if the actor is a member, else 0
local function read_states(actors_by_key)
  local states = {}
  for key, actors in pairs(actors_by_key) do
    states[key] = {}
    for first = 1, #actors, VALUES_AT_ONCE do
      local last = min(first + VALUES_AT_ONCE - 1, #actors)
      local are_members = call('SMISMEMBER', keys.track_key(key), unpack(actors, first, last))
      for i = first, last do states[key][actors[i]] = are_members[i - first + 1] end
    end
  end
  return states
end

-- @return the values of the toggles in the reply, and their number
local function build_toggles(updates, forwarded)
  local list, last, seen, chunk_keys, actors_by_key = {}, 0, {}, {}, {}
  local sets, actors, stamps = read_latest(updates, forwarded)
  for i, stamp in ipairs(stamps) do
    local set, actor = sets[i], actors[i]
    local toggle_id = #forwarded > 0 and toggle_log.toggle_name(set, actor)
    if stamp > bucket.stable_stamp and not seen[toggle_id] then
      if toggle_id then seen[toggle_id] = true end
      local name, metric = toggle_log.parse_set_name(set)
      local index = index_of(name)
      local key = members.chunk_key(index + 1, metric, actor)
      local group = actors_by_key[key] or {}
      actors_by_key[key], group[#group + 1], chunk_keys[#chunk_keys + 1] = group, actor, key
      list[last + 1], list[last + 2], list[last + 3], list[last + 4] = index, metric, actor, stamp
      last = last + 5
    end
  end
  local states = read_states(actors_by_key)
  for i, key in ipairs(chunk_keys) do list[5 * i] = states[key][list[5 * i - 2]] end
  return list, last
end

-- @return the values before the posts, and their number
local function build_header(up_to)
  local list, predecessors = {
    CHANGES_FOUND, bucket.epoch, bucket.nonce, bucket.started_at_stamp, bucket.acked_up_to, bucket.stable_stamp, up_to,
    #bucket.predecessors / 2,
  }, bucket.predecessors
  for i, number in ipairs(predecessors) do list[8 + i] = number end
  return list, 8 + #predecessors
end

-- @param is_counted  by index from 0: whether the post's counts have changed
-- @return their number, and the homes, packed
local function build_homes_of(is_counted)
  if not homes.has_any then return pack(0) end
  local packed, count = {}, 0
  homes.read(#packed_records)
  for index, by_metric in pairs(homes.states) do
    if is_counted[index - 1] then
      local some, some_count = build_homes.pack_homes(index - 1, posts.names[index], by_metric, false)
      packed[#packed + 1], count = some, count + some_count
    end
  end
  return pack(count) .. table.concat(packed)
end

-- @return the reply, and about how many changes it has
local function build_delta(after)
  if after < bucket.dropped_up_to then return pack(CHANGES_FORGOTTEN), 1 end
  if after >= bucket.clock then
    local list, last = build_header(after)
    list[last + 1], list[last + 2], list[last + 3] = 0, 0, 0
    return pack(unpack(list, 1, last + 3)), 1
  end
  local entries, updates, up_to = read_changes(after)
  local is_counted, forwarded = {}, {}
  indices, packed_records = {}, {}
  for _, entry in ipairs(entries) do
    if string.find(entry, ' ', 1, true) then forwarded[#forwarded + 1] = entry else is_counted[index_of(entry)] = 1 end
  end
  local toggles, toggles_last = build_toggles(updates, forwarded)
  local list, last = build_header(up_to or bucket.clock)
  last = last + 1
  list[last] = #packed_records
  for i, record in ipairs(packed_records) do
    list[last + 1], list[last + 2], list[last + 3] = posts.names[i], is_counted[i - 1] or 0, record
    last = last + 3
  end
  last = last + 1
  list[last] = toggles_last / 5
  for i = 1, toggles_last do list[last + i] = toggles[i] end
  return msgpack.concat_packed(pack, list, last + toggles_last) .. build_homes_of(is_counted), 1 + #entries + #updates
end

-- Removes stable updates from a log. @return how many of its updates are removed
local function trim_log(key, written, removed)
  local last = written > removed and call('XREVRANGE', key, stamp_text(bucket.stable_stamp), '-', 'COUNT', 1)[1]
  if not last then return removed end
  bucket.are_logs_changed = true
  call('XTRIM', key, 'MINID', stamp_text(bucket.stable_stamp + 1))
  return (select(2, toggle_log.parse_id(last[1])))
end

-- @return the reply, and about how many changes it has
local function read_bucket(i)
  bucket.reset(KEYS[i])
  local request = msgpack.unpack_list(ARGV[7 + i])
  local after, acked = request[2], request[3]
  if bucket.tracked then bucket.tracked = { bucket.key .. KEY_CHANGE_FEED, bucket.key .. KEY_LOCAL_LOG, bucket.key .. KEY_REMOTE_LOG } end
  local sizes, packed_vector, packed_registers, milestones_field = replication_state.open(FIELD_VERSION_VECTOR, FIELD_REGISTERS, FIELD_MILESTONES)
  bucket.set_sizes(sizes)
  milestones.open(milestones_field)
  homes.open()
  local stable_before, dropped_before = bucket.stable_stamp, bucket.dropped_up_to
  advance_stability(acked, version_vector.unpack_vector(packed_vector))
  local reply, spent = build_delta(after)
  local registers_state = registers.unpack_state(packed_registers)
  local expiry = registers.plan_expiry(registers_state)
  keys.assert_slot_local()
  local has_writes = bucket.is_new_incarnation or bucket.is_state_changed or after < bucket.clock or expiry
  if not has_writes then return reply, spent end
  if bucket.dropped_up_to > dropped_before then call('ZREMRANGEBYSCORE', bucket.key .. KEY_CHANGE_FEED, '-inf', acked) end
  if bucket.stable_stamp > stable_before then
    bucket.local_log_removed = trim_log(bucket.key .. KEY_LOCAL_LOG, bucket.local_log_written, bucket.local_log_removed)
    bucket.remote_log_removed = trim_log(bucket.key .. KEY_REMOTE_LOG, bucket.remote_log_written, bucket.remote_log_removed)
  end
  if expiry then registers.write_expiry(expiry, registers_state) end
  incarnation.write()
  replication_state.write()
  return reply, spent
end

local deltas = {}
for i = 1, #KEYS do
  deltas[i] = ''
  if budget > 0 then
    local is_done, reply, spent = pcall(read_bucket, i)
    deltas[i], budget = is_done and reply or error_reply.error_reply(reply), budget - (spent or 1)
  end
end
return deltas
