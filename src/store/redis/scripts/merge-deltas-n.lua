#!lua
-- Merges deltas of other regions, fragment by fragment, each whole or not at all; a second time it changes nothing. The meaning is that
-- of merge-delta.ts. A fragment is read and worked out before its first write.
--
-- KEYS[i]  tc:{b}    the hash of fragment i's bucket; derived from it: all other keys of the bucket
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of an incarnation that starts, a blank, wall time (ms since 1970)
-- ARGV[3]  ms between two publications of a post, at least
-- ARGV[4]  number of metrics
-- ARGV[5]  1 if slots may move (a cluster), else 0
-- ARGV[6]  number of this region
-- ARGV[7]  names of this region and of all others, with commas between them
-- ARGV[8]  the other options of each metric's choice: lib/homes.lua
-- ARGV[8 + i]  fragment i, msgpack values (delta-encoder.ts):
--            how many values follow
--            the source's region, epoch, nonce, startedAtStamp
--            with the delta's last fragment after, upTo and ackedUpTo of the delta, else 0 each
--            stableStamp of a full sync or a delta with members, else 0
--            with the last fragment of a full sync epoch and nonce of its receiver, else 0 each
--            number of the source's region
--            numbers of posts, incarnations, entries, toggles, predecessors and homes
--            names of the posts
--            their hashes
--            times of their last changes (ms since 1970)
--            for each incarnation: region, epoch, nonce
--            for each entry: index of its post, metric, index of its incarnation, P, N
--            for each toggle: index of its post, metric, the actor's key in decimal, stamp, 1 if it is on else 0,
--              basis (0: a register, 1: members, 2: members of a repair)
--            for each predecessor of the source: epoch, nonce
--            for each home: index of its post, metric, region, number, mode; number of confirmations, for each: region, epoch, nonce, the
--              home's region, number and mode, stamp; number of records, their values (lib/milestone-records.lua)
--          Indices begin at 1; entries, toggles and homes are in the order of their posts
-- Returns  for each fragment a string: "-" and an error; or msgpack values:
--            1 if the source's incarnation was rejected, else 0
--            epoch, nonce and upTo of the source in the version vector; if it was rejected, of its latest incarnation
--            epoch and nonce of this region
--            1 if it is backfilling else 0, 1 if the source has fully synced it else 0, its stableStamp
--            if it was not rejected: 1 + ms until a post is due (0: none is)
--              number of changed posts, for each: its index, version, ms of its last change, viewers, total of each metric
--              number of changed toggles, for each: its index, 1 if it is on else 0
-- @include bucket keys incarnation hybrid-clock replication-state version-vector msgpack post-record chunk-growth posts publish members
-- @include toggle-log spill-toggle-log remote-entries changed-posts milestones reached-milestones homes home-decisions merge-delta error-reply
-- @constants FIELD_CHANGED_POSTS FIELD_MILESTONES FIELD_VERSION_VECTOR
-- @constants KEY_CHANGE_FEED KEY_LOCAL_LOG KEY_PUBLISH_AFTER KEY_PUBLISH_DUE KEY_REMOTE_LOG KEY_VIEWERS
local call, pack, min, max = redis.call, cmsgpack.pack, math.min, math.max
local metrics, own_region = tonumber(ARGV[4]), string.match(ARGV[7], '^[^,]*')
publish.configure(tonumber(ARGV[3]), metrics)
bucket.slots_may_move, bucket.own_region = ARGV[5] == '1', tonumber(ARGV[6])
local OLDER, SAME, CLASH, compare_incarnations =
  remote_entries.OLDER, remote_entries.SAME, remote_entries.CLASH, remote_entries.compare_incarnations
local fragment, args = merge_delta.fragment, msgpack.args
local source, offsets, counts = fragment.source, fragment.offsets, fragment.counts

homes.configure(ARGV[7], function(index)
  local stamp = hybrid_clock.now(0)
  fragment.forwarded[posts.names[index]] = stamp
  return stamp
end, ARGV[8])

local function grow_all(new_posts)
  if new_posts > 0 then posts.grow(new_posts) end
  local values = fragment.values
  for i = offsets.toggles + 1, offsets.predecessors, 6 do
    members.grow_set(posts.records[values[i]], values[i + 1], posts.names[values[i]])
  end
end

-- Members are added before others are removed: see commit-batches-n.lua.
local function write_members()
  local values, was_on, is_on = fragment.values, fragment.was_on, fragment.is_on
  for on = 1, 0, -1 do
    for number, id in ipairs(fragment.toggle_ids) do
      local i = offsets.toggles + 6 * (number - 1)
      if is_on[id] == on and was_on[id] ~= on then
        was_on[id] = on
        call(on == 1 and 'SADD' or 'SREM', members.chunk_key(values[i + 1], values[i + 2], values[i + 3]), values[i + 3])
      end
    end
  end
end

local function write_remote_log()
  local values, taken_stamps = fragment.values, fragment.taken_stamps
  local last, updates, group, group_id = 0, 0, nil, nil
  for number, id in ipairs(fragment.toggle_ids) do
    local stamp = taken_stamps[id]
    if stamp then
      local i = offsets.toggles + 6 * (number - 1)
      local index, metric = values[i + 1], values[i + 2]
      local own_id = index .. ' ' .. metric .. ' ' .. hybrid_clock.stamp_text(stamp)
      if own_id ~= group_id then
        args[last + 1], args[last + 2], args[last + 3], args[last + 4] = posts.names[index], metric, stamp, 0
        group, last, group_id = last + 4, last + 4, own_id
      end
      last, updates, taken_stamps[id] = last + 1, updates + 1, nil
      args[last], args[group] = values[i + 3], args[group] + 1
    end
  end
  if updates == 0 then return end
  bucket.remote_log_written, bucket.are_logs_changed = bucket.remote_log_written + updates, true
  toggle_log.append(bucket.key .. KEY_REMOTE_LOG, bucket.clock, bucket.remote_log_written, args, last)
end

local function write_forwarded(feed_length)
  local list, last = {}, 0
  for entry, stamp in pairs(fragment.forwarded) do
    list[last + 1], list[last + 2] = hybrid_clock.stamp_text(stamp), entry
    last = last + 2
  end
  replication_state.add_changes(list, last, feed_length)
end

-- Updates the source's entry of the version vector. A new incarnation has one when a full sync has ended.
-- @param is_same  whether the source is the incarnation in the version vector
local function update_vector(is_same)
  local entry = version_vector.entry_for(fragment.vector, source.region)
  local is_full_sync = source.receiver_epoch > 0
    and compare_incarnations(source.receiver_epoch, source.receiver_nonce, bucket.epoch, bucket.nonce) == SAME
  if is_full_sync and not replication_state.is_synced_from(source.region) then
    bucket.synced_from = bucket.synced_from == '' and source.region or bucket.synced_from .. ',' .. source.region
    bucket.is_state_changed = true
  end
  -- All that was stable at the source when the full sync began is here now.
  if is_full_sync and source.stable_stamp > bucket.stable_stamp then
    bucket.stable_stamp, bucket.is_state_changed = source.stable_stamp, true
  end
  if not is_full_sync and not is_same then return end
  local up_to = (is_full_sync or source.after <= entry.up_to) and source.up_to or 0
  if is_same then up_to = max(up_to, entry.up_to) end
  -- A new incarnation does not take over what the previous one knew to be acknowledged: see merge-delta.ts.
  local acked_up_to = is_same and max(entry.acked_up_to, source.acked_up_to) or min(source.acked_up_to, up_to)
  if is_same and up_to == entry.up_to and acked_up_to == entry.acked_up_to then return end
  entry.epoch, entry.nonce, entry.up_to, entry.acked_up_to = source.epoch, source.nonce, up_to, acked_up_to
  fragment.vector[source.region], fragment.is_vector_changed = entry, true
end

-- @return the values of the ack, and their number
local function build_ack(is_rejected)
  local entry = version_vector.entry_for(fragment.vector, source.region)
  local epoch, nonce = entry.epoch, entry.nonce
  if is_rejected then epoch, nonce = entry.latest_epoch, entry.latest_nonce end
  local is_synced = replication_state.is_synced_from(source.region)
  return {
    is_rejected and 1 or 0, epoch, nonce, entry.up_to, bucket.epoch, bucket.nonce, bucket.is_backfilling, is_synced and 1 or 0,
    bucket.stable_stamp,
  }, 9
end

local function build_reply(changed_count, toggled, toggled_last, due_ms)
  local list, last = build_ack(false)
  list[last + 1], list[last + 2] = due_ms + 1, changed_count
  last = last + 2
  for i = 1, changed_count do
    local index = posts.to_publish[i]
    local post = posts.records[index]
    list[last + 1], list[last + 2], list[last + 3] = index, post[post_record.VERSION], post[post_record.UPDATED_AT]
    list[last + 4] = tonumber(posts.viewers[index])
    for metric = 0, metrics - 1 do list[last + 5 + metric] = post_record.compute_total(post, metric) end
    last = last + 4 + metrics
  end
  last = last + 1
  list[last] = toggled_last / 2
  for i = 1, toggled_last do list[last + i] = toggled[i] end
  return msgpack.concat_packed(pack, list, last + toggled_last)
end

local function merge(is_same)
  fragment.forwarded = {}
  fragment.is_vector_changed = version_vector.learn_incarnation(fragment.vector, source.region, source.epoch, source.nonce)
  local publish_after, publish_due = bucket.key .. KEY_PUBLISH_AFTER, bucket.key .. KEY_PUBLISH_DUE
  posts.read(fragment.values, offsets.posts, offsets.posts + counts.posts, counts.posts)
  local feed_length = call('ZCARD', bucket.key .. KEY_CHANGE_FEED)
  if source.stable_stamp > bucket.stable_stamp then hybrid_clock.receive(source.stable_stamp) end
  merge_delta.read_toggles()
  if milestones.has_any then
    milestones.read(counts.posts)
    if homes.has_any then homes.read(counts.posts) end
    home_decisions.set_vector(fragment.vector)
  end
  local toggled, toggled_last = merge_delta.merge()
  local changed_count, new_posts = posts.count_changed(0)
  grow_all(new_posts)
  local spill = counts.toggles > 0
    and spill_toggle_log.plan_spill(bucket.key .. KEY_REMOTE_LOG, bucket.remote_log_written - bucket.remote_log_removed, counts.toggles)
  update_vector(is_same)
  local has_news, has_home_news = false, false
  if milestones.has_any then
    if homes.has_any then home_decisions.note_effective(changed_count) end
    has_news = (milestones.is_armed or homes.has_any) and reached_milestones.prepare(changed_count)
    has_home_news = homes.has_any and homes.prepare()
  end
  local watched_count = publish.filter_watched(changed_count, publish_after)
  local due_ms = publish.next_due_ms(publish_due)
  keys.assert_slot_local()

  -- Writes: see commit-batches-n.lua.
  if bucket.is_recording then changed_posts.record(changed_count) end
  chunk_growth.write()
  posts.write(changed_count)
  if has_news then reached_milestones.write() end
  if has_home_news then homes.write() end
  if spill then
    spill_toggle_log.write(spill)
    bucket.remote_log_removed, bucket.are_logs_changed = spill.removed, true
  end
  write_remote_log()
  write_forwarded(feed_length)
  write_members()
  if new_posts > 0 then bucket.write_sizes() end
  remote_entries.write_incarnations()
  if fragment.is_vector_changed then version_vector.write(fragment.vector) end
  incarnation.write()
  replication_state.write()
  if watched_count > 0 then
    publish.publish_watched(watched_count, publish_after, publish_due)
    due_ms = publish.next_due_ms(publish_due)
  end
  if has_news then reached_milestones.publish_all() end
  return build_reply(changed_count, toggled, toggled_last, due_ms)
end

-- Whether the source has all that the incarnation in the version vector did.
local function succeeds(entry)
  local values = fragment.values
  for i = offsets.predecessors + 1, offsets.predecessors + 2 * counts.predecessors, 2 do
    if compare_incarnations(values[i], values[i + 1], entry.epoch, entry.nonce) == SAME then return true end
  end
  return false
end

local function merge_fragment(i)
  bucket.reset(KEYS[i])
  merge_delta.parse(ARGV[8 + i], own_region)
  if bucket.tracked then
    bucket.tracked = {
      bucket.key .. KEY_PUBLISH_AFTER, bucket.key .. KEY_PUBLISH_DUE, bucket.key .. KEY_VIEWERS, bucket.key .. KEY_CHANGE_FEED, bucket.key .. KEY_LOCAL_LOG, bucket.key .. KEY_REMOTE_LOG,
    }
  end
  local sizes, packed_vector, packed_changed_posts, milestones_field =
    replication_state.open(FIELD_VERSION_VECTOR, FIELD_CHANGED_POSTS, FIELD_MILESTONES)
  bucket.set_sizes(sizes)
  changed_posts.open(packed_changed_posts)
  milestones.open(milestones_field or (counts.homes > 0 and pack(0)))
  home_decisions.open(counts.homes > 0)
  fragment.vector = version_vector.unpack_vector(packed_vector)
  remote_entries.read_incarnations()
  local entry = version_vector.entry_for(fragment.vector, source.region)
  local is_same = compare_incarnations(source.epoch, source.nonce, entry.epoch, entry.nonce) == SAME
  local order = compare_incarnations(source.epoch, source.nonce, entry.latest_epoch, entry.latest_nonce)
  local is_latest = order ~= OLDER and order ~= CLASH
  if is_latest and (is_same or succeeds(entry) or source.started_at_stamp >= entry.up_to) then return merge(is_same) end
  keys.assert_slot_local()
  incarnation.write()
  replication_state.write()
  return pack(unpack((build_ack(true))))
end

local acks = {}
for i = 1, #KEYS do
  local is_done, ack = pcall(merge_fragment, i)
  acks[i] = is_done and ack or error_reply.error_reply(ack)
end
return acks
