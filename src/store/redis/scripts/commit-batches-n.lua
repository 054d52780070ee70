#!lua
-- Applies batches to buckets, each once, whole or not at all; the meaning is that of apply.ts. A batch is read and worked out before
-- its first write, because Redis does not undo what a script wrote before it failed.
--
-- KEYS[i]  tc:{b}    the hash of batch i's bucket; derived from it: all other keys of the bucket
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of an incarnation that starts, a blank, wall time (ms since 1970)
-- ARGV[3]  ms between two publications of a post, at least
-- ARGV[4]  number of metrics
-- ARGV[5]  1 if slots may move (a cluster), else 0
-- ARGV[6]  number of this region, -1 without replication
-- ARGV[7]  names of this region and of all others, with commas between them
-- ARGV[7 + i]  batch i, msgpack values (batch-encoder.ts):
--            how many values follow
--            producer id, or name of a log; batch number, or position in the log after the batch
--            0, -1 if it is a replay, or 1 + position in the log before the batch
--            time of the batch (ms since 1970)
--            numbers of posts, sessions and keys of visits; the longest window (ms); numbers of sets and members
--            number of operations that are named, 0 if they are not; -1 if one of them is the sum of several
--            names of the posts
--            their hashes
--            keys of the sessions, in decimal
--            their hashes
--            keys of the visits, in decimal
--            their hashes
--            for each set: index of its post, metric, number of members
--            for each set: keys of its members, in decimal
--            their hashes
--            for each operation that is named: kind (milestones-decoder.ts), key of its actor in decimal, empty for nobody
--            for each operation: kind (0: off, 1: on, 2: count, 3: visit; 4 more with a session, and then 12 more
--              if another region has forwarded it), index of the post, metric,
--              index of the member (0: nobody), the value to count, or index of the visit's key; with a session also its index and the seq;
--              of a visit also its time and its window (s)
--            after one that puts an option of a choice on, for each other option: 8, index of the post, metric, index of the member
--          Indices begin at 1. Posts, sessions, visits, and members of a set are in the order that each_chunk needs
-- Returns  for each batch a string: "-" and an error; or msgpack values, one of
--            1 (gap), number of the producer's last batch, or position in the log
--            2 (stale), the same
--            3 (unsum), the same: a sum may reach a milestone, and the batch was not applied
--            4 (unnamed): an operation reaches a milestone, and the batch was not applied, because its operations are not named
--            5 (undecided), number of the producer's last batch: a replay may reach a milestone, and the batch was not applied, because this
--              region does not know yet whether it may decide
--            0 (applied), epoch, nonce, 1 + ms until a post is due (0: none is), outcomes (a byte each),
--              for each post: version, ms of its last change, viewers, 1 if it has changed else 0, total of each metric
-- @include bucket keys server-time incarnation hybrid-clock replication-state msgpack post-record chunk-growth current-batch posts publish
-- @include marks members record-changes changed-posts apply-operations error-reply
-- @include-late milestones reached-milestones operation-milestones homes home-decisions forward-marks admission
-- @constants COMMIT_APPLIED COMMIT_GAP COMMIT_STALE COMMIT_UNDECIDED COMMIT_UNNAMED COMMIT_UNSUM
-- @constants FIELD_CHANGED_POSTS FIELD_EPOCH FIELD_MILESTONES FIELD_NONCE FIELD_OLD_MARKS FIELD_OLD_VISIT_MARKS FIELD_RUN_ID FIELD_SIZES
-- @constants KEY_LOG_POSITIONS KEY_MARKS KEY_PREVIOUS_PRODUCERS KEY_PRODUCERS KEY_PUBLISH_AFTER KEY_PUBLISH_DUE KEY_VIEWERS KEY_VISIT_MARKS
-- @constants MARK_GENERATION_MAX MARK_GENERATION_MS VISIT_MARKS_MAX
local call, pack, unpack_values, pcall, format = redis.call, cmsgpack.pack, cmsgpack.unpack, pcall, string.format
local UPDATED_AT, VERSION, compute_total = post_record.UPDATED_AT, post_record.VERSION, post_record.compute_total
local assert_slot_local, next_due_ms, concat_packed = keys.assert_slot_local, publish.next_due_ms, msgpack.concat_packed
local records, viewers, is_changed, reply = posts.records, posts.viewers, posts.is_changed, msgpack.args
-- A day of producers ends after this time, or when it has this many.
local PRODUCERS_MS, PRODUCERS_MAX = 86400000, 4096
local metrics, slots_may_move, own_region = tonumber(ARGV[4]), ARGV[5] == '1', tonumber(ARGV[6])
local is_replicated = own_region >= 0
bucket.own_region = own_region
local sessions, visits = marks.open(bucket.session_marks, KEY_MARKS), nil
publish.configure(tonumber(ARGV[3]), metrics)
-- Whether the bucket has milestones, and whether a metric of it has or had a home. Libraries about them are included only then.
local has_milestones, has_homes = false, false

local function build_reply(outcomes, due_ms)
  local last = 5
  reply[1], reply[2], reply[3], reply[4], reply[5] = COMMIT_APPLIED, bucket.epoch, bucket.nonce, due_ms + 1, outcomes
  for i = 1, current_batch.posts_count do
    local post = records[i]
    reply[last + 1], reply[last + 2] = post[VERSION], post[UPDATED_AT]
    reply[last + 3], reply[last + 4] = tonumber(viewers[i]), is_changed[i]
    for metric = 0, metrics - 1 do reply[last + 5 + metric] = compute_total(post, metric) end
    last = last + 4 + metrics
  end
  return concat_packed(pack, reply, last)
end

-- @param state   packed: number of the producer's last batch, its outcomes
-- @param is_new  whether the producer had no state
-- @return whether a day of producers begins
local function write_producer(producers, previous_producers, state, is_new)
  call('HSET', producers, current_batch.producer_id, state)
  if not is_new then return false end
  local now, since = server_time.now_ms(), bucket.producers_since_ms
  if since > 0 and now - since < PRODUCERS_MS and call('HLEN', producers) <= PRODUCERS_MAX then return false end
  if since > 0 then call('RENAME', producers, previous_producers) end
  bucket.producers_since_ms = now
  return true
end

-- @return whether a day of producers begins
local function write_number(producers, previous_producers, outcomes, is_new_producer)
  local number = current_batch.number
  if not current_batch.after_in_log then return write_producer(producers, previous_producers, pack(number, outcomes), is_new_producer) end
  call('HSET', bucket.key .. KEY_LOG_POSITIONS, current_batch.producer_id, format('%.0f', number))
  return false
end

-- @return number of the producer's last batch; packed, this number and its outcomes, which a log does not have
local function read_number(producers, previous_producers)
  local producer_id = current_batch.producer_id
  if current_batch.after_in_log then
    return tonumber(call('HGET', keys.track_key(bucket.key .. KEY_LOG_POSITIONS), producer_id) or 0), nil
  end
  local state = call('HGET', producers, producer_id) or call('HGET', previous_producers, producer_id)
  return state and unpack_values(state) or 0, state
end

-- Functions are created by each call, and most calls have no visits.
-- @return whether a generation begins; the number of an old one and of its chunks, if there are any
local function read_visits(at_ms)
  visits = visits or marks.open(bucket.visit_marks, KEY_VISIT_MARKS)
  bucket.read_visit_marks()
  local begins, old, old_chunks = visits.begin_generation(at_ms, current_batch.longest_window_ms, VISIT_MARKS_MAX)
  visits.read(current_batch.visits_at, current_batch.visits_count)
  return begins, old, old_chunks
end

-- @return the outcomes, and ms until a post is due; nil if the operations have to be named first
local function apply(producers, previous_producers, publish_after, publish_due, is_new_producer)
  local at_ms, has_sessions, has_sets = current_batch.at_ms, current_batch.sessions_count > 0, current_batch.sets_count > 0
  local begins, old, old_chunks = sessions.begin_generation(at_ms, MARK_GENERATION_MS, MARK_GENERATION_MAX)
  if has_sessions then sessions.read(current_batch.sessions_at, current_batch.sessions_count) end
  local has_visits, begins_visits, old_visits, old_visits_chunks = current_batch.visits_count > 0, false, nil, nil
  if has_visits then begins_visits, old_visits, old_visits_chunks = read_visits(at_ms) end
  if has_sets then members.read() end
  if is_replicated then record_changes.clear() end
  if has_homes then forward_marks.begin_generation(at_ms) end
  local outcomes = apply_operations.apply(has_milestones, has_homes)
  if not outcomes then return nil end
  local changed_count, new_posts = posts.count_changed(at_ms)
  local new_sessions = has_sessions and sessions.count_new() or 0
  if new_posts > 0 then posts.grow(new_posts) end
  if new_sessions > 0 then sessions.grow(new_sessions) end
  local new_visits = has_visits and visits.count_new() or 0
  if new_visits > 0 then visits.grow(new_visits) end
  if has_sets then members.grow() end
  if is_replicated then record_changes.prepare() end
  if has_homes then home_decisions.note_effective(changed_count) end
  local has_news = has_milestones and milestones.is_armed and reached_milestones.prepare(changed_count)
  local has_home_news, has_forward_marks = has_homes and homes.prepare(), has_homes and forward_marks.has_changes()
  local watched_count = publish.filter_watched(changed_count, publish_after)
  local due_ms = next_due_ms(publish_due)
  assert_slot_local()

  -- Writes. Nothing fails from here on, as long as no command names a key that one before it has emptied: while a slot moves, such a
  -- key counts as moved. So members are added before others are removed, and producers are renamed last.
  if bucket.is_recording then changed_posts.record(changed_count) end
  chunk_growth.write()
  posts.write(changed_count)
  if has_sessions then sessions.write() end
  if has_visits then visits.write() end
  if has_sets then members.write() end
  if is_replicated then record_changes.write(hybrid_clock.now(at_ms)) end
  if has_news then reached_milestones.write() end
  if has_home_news then homes.write() end
  if has_forward_marks then forward_marks.write() end
  local begins_day = write_number(producers, previous_producers, outcomes, is_new_producer)
  if begins or begins_day or new_posts > 0 or new_sessions > 0 then bucket.write_sizes() end
  if begins_visits or new_visits > 0 then bucket.write_visit_marks() end
  if old then call('HSET', bucket.key, FIELD_OLD_MARKS .. old, old_chunks) end
  if old_visits then call('HSET', bucket.key, FIELD_OLD_VISIT_MARKS .. old_visits, old_visits_chunks) end
  incarnation.write()
  if is_replicated then replication_state.write() end
  if watched_count > 0 then
    publish.publish_watched(watched_count, publish_after, publish_due)
    due_ms = next_due_ms(publish_due)
    if has_news then reached_milestones.publish(watched_count) end
  end
  return outcomes, due_ms
end

-- Most buckets have no milestones, and most milestones have no home, so they do not pay for the libraries about these.
-- @param field  the field `milestones`, false if the bucket has none
local function open_milestones(field)
  has_milestones, has_homes = field and true, false
  if not field then return end
  include_late('operation-milestones')
  milestones.open(field)
  if not is_replicated then return end
  include_late('home-decisions')
  homes.configure(ARGV[7], record_changes.record_count)
  home_decisions.open(false)
  has_homes = homes.has_any
  if not has_homes then return end
  include_late('admission')
  admission.open()
end

-- Reads the bucket's hash.
local function open(key)
  if is_replicated then
    local sizes, packed_state, milestones_field = replication_state.open_clock(FIELD_CHANGED_POSTS, FIELD_MILESTONES)
    bucket.set_sizes(sizes)
    changed_posts.open(packed_state)
    open_milestones(milestones_field)
    return
  end
  local fields = call('HMGET', key, FIELD_EPOCH, FIELD_NONCE, FIELD_RUN_ID, FIELD_SIZES, FIELD_CHANGED_POSTS, FIELD_MILESTONES)
  incarnation.set(fields[1], fields[2], fields[3])
  bucket.set_sizes(fields[4])
  changed_posts.open(fields[5])
  open_milestones(fields[6])
end

local function commit(key, packed)
  current_batch.parse(packed)
  local producers, previous_producers = key .. KEY_PRODUCERS, key .. KEY_PREVIOUS_PRODUCERS
  local publish_after, publish_due = key .. KEY_PUBLISH_AFTER, key .. KEY_PUBLISH_DUE
  bucket.key = key
  bucket.tracked = slots_may_move and { producers, previous_producers, publish_after, publish_due, key .. KEY_VIEWERS }
  open(key)

  local number = current_batch.number
  local after = current_batch.after_in_log or number - 1
  local last, state = read_number(producers, previous_producers)
  if after ~= last and not (state and number == last) then
    assert_slot_local()
    return pack(after > last and COMMIT_GAP or COMMIT_STALE, last)
  end
  posts.read(current_batch.values, current_batch.posts_at, current_batch.posts_at + current_batch.posts_count, current_batch.posts_count)
  if after == last then
    if has_milestones then
      milestones.read(current_batch.posts_count)
      if has_homes then homes.read(current_batch.posts_count) end
      if milestones.is_armed and operation_milestones.might_reach() then
        assert_slot_local()
        return pack(current_batch.is_replay and COMMIT_UNDECIDED or COMMIT_UNSUM, last)
      end
    end
    local outcomes, due_ms = apply(producers, previous_producers, publish_after, publish_due, not state)
    if outcomes then return build_reply(outcomes, due_ms) end
    assert_slot_local()
    return pack(COMMIT_UNNAMED)
  end
  local due_ms = next_due_ms(publish_due)
  assert_slot_local()
  -- Written again, so that waiting for replicas on this connection waits for the batch.
  call('HSET', producers, current_batch.producer_id, state)
  incarnation.write()
  if is_replicated then replication_state.write() end
  local _, last_outcomes = unpack_values(state)
  return build_reply(last_outcomes, due_ms)
end

local answers = {}
for i, key in ipairs(KEYS) do
  local is_done, answer = pcall(commit, key, ARGV[7 + i])
  answers[i] = is_done and answer or error_reply.error_reply(answer)
end
return answers
