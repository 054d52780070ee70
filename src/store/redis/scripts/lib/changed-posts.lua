-- scripts/lib/changed-posts.lua: records which posts and members changed, for copies of the counts in other systems; the meaning is that
-- of changed-posts.ts. A bucket without the field `changed_posts` records nothing, because nobody asked which of its posts changed.
-- @needs bucket keys msgpack post-record posts
-- @constants COUNT_MAX FEED_MAX FEED_WITH_MEMBERS_MAX ENTRIES_PER_SEQ SEQ_BEFORE_FIRST STARTS_MAX SUM_MODULUS
-- @constants MILESTONE_FINAL_MS FIELD_CHANGED_POSTS FIELD_CHANGED_POSTS_HISTORY KEY_CHANGED_POSTS KEY_PROVISIONAL_MILESTONES
local changed_posts = {}
local are_functions_created = false
-- A read is noted if the last one that was is longer ago: a sixth of the loss for which no copy is halted (LOSS_MAX_MS in copy-decision.ts).
local READ_NOTED_MS = 10000

-- Creates all functions but `open`. That is 3 % of a call with one batch of eight operations, so a call in which no bucket records does without.
local function create_functions()
  local call, pack, unpack, unpack_values = redis.call, cmsgpack.pack, unpack, cmsgpack.unpack
  local min, max, format = math.min, math.max, string.format
  local compute_total, UPDATED_AT = post_record.compute_total, post_record.UPDATED_AT
  local names, records, to_publish, args = posts.names, posts.records, posts.to_publish, msgpack.args
  -- Indices of the values in the field `changed_posts`. The seq is a text, because each commit needs it as one. The last ones are sums;
  -- those of metrics that have not changed may be missing.
  local SEQ, ENTRIES_UNDER_SEQ, CHANGED_AT, EPOCH, NONCE, RECORDS_MEMBERS, FIRST_SUM = 1, 2, 3, 4, 5, 6, 7
  -- The same in `changed_posts_history`; the last ones are the starts of incarnations: epoch, nonce, seq, time up to which nothing was lost.
  local DROPPED_UP_TO, READ_AT, START_VALUES = 1, 2, 4

  -- Key of the sorted set; values of the two fields. The history is nil until it is read, which is rarely needed.
  local posts_key, state, history
  local is_history_changed, drops_all = false, false
  -- Members that were turned on or off and are to be recorded, `post metric actor`, and their number.
  local changed_members, member_count = {}, 0

  local function unpack_history(packed)
    return packed and { unpack_values(packed) } or { SEQ_BEFORE_FIRST }
  end

  -- @param packed_state, packed_history  the fields, false if there is none; nil: the history was not read
  function changed_posts.set_fields(packed_state, packed_history)
    posts_key = keys.track_key(bucket.key .. KEY_CHANGED_POSTS)
    state, history = packed_state and { unpack_values(packed_state) }, nil
    is_history_changed, drops_all, member_count = false, false, 0
    bucket.records_members = packed_state and state[RECORDS_MEMBERS] == 1
    if packed_history ~= nil then history = unpack_history(packed_history) end
  end

  local function read_history()
    if not history then history = unpack_history(call('HGET', bucket.key, FIELD_CHANGED_POSTS_HISTORY)) end
  end

  -- Begins above the seq at which recording was stopped.
  function changed_posts.start()
    history = { history[DROPPED_UP_TO], 0 }
    -- No incarnation has epoch 0: so the current one is noted as the first.
    bucket.is_recording, state = true, { format('%.0f', history[DROPPED_UP_TO] + 1), 0, 0, 0, 0, 0 }
  end

  -- Records members from now on. What stands in the record is dropped, because nobody knows which members changed until now.
  function changed_posts.start_members()
    read_history()
    local dropped = state[ENTRIES_UNDER_SEQ] > 0 and tonumber(state[SEQ]) or state[SEQ] - 1
    state[SEQ], state[ENTRIES_UNDER_SEQ], state[RECORDS_MEMBERS] = format('%.0f', dropped + 1), 0, 1
    history[DROPPED_UP_TO], is_history_changed, drops_all, bucket.records_members = dropped, true, true, true
  end

  -- Forgets all but the seq, so that no copy takes its position for a current one when recording starts again.
  function changed_posts.stop()
    keys.assert_slot_local()
    call('UNLINK', posts_key, bucket.key .. KEY_PROVISIONAL_MILESTONES)
    call('HSET', bucket.key, FIELD_CHANGED_POSTS_HISTORY, pack(tonumber(state[SEQ])))
    call('HDEL', bucket.key, FIELD_CHANGED_POSTS)
  end

  -- Notes with which seq the current incarnation goes on. @return whether it is not the last one that was noted
  local function start_incarnation()
    if state[EPOCH] == bucket.epoch and state[NONCE] == bucket.nonce then return false end
    read_history()
    state[EPOCH], state[NONCE], is_history_changed = bucket.epoch, bucket.nonce, true
    local last = #history
    history[last + 1], history[last + 2] = bucket.epoch, bucket.nonce
    history[last + 3], history[last + 4] = tonumber(state[SEQ]), max(state[CHANGED_AT], history[READ_AT])
    if last >= READ_AT + START_VALUES * STARTS_MAX then
      history = { history[DROPPED_UP_TO], history[READ_AT], unpack(history, READ_AT + START_VALUES + 1) }
    end
    return true
  end

  -- Notes that the bucket is read, after the current incarnation was started. If the next one still has the note, it has recovered all changes
  -- before, even if the last one is long ago. @return whether something is to be written
  function changed_posts.note_read(wall_ms)
    if wall_ms < history[READ_AT] + READ_NOTED_MS then return false end
    history[READ_AT], is_history_changed = wall_ms, true
    return true
  end

  -- To be called after a metric of a post was changed.
  -- @param before  the total before
  -- @param change  of the total, as long as no total is above COUNT_MAX; nil: unknown
  function changed_posts.move_sum(post, metric, before, change)
    -- A total of COUNT_MAX may be that of counts that add up to more.
    if not change or before == COUNT_MAX then change = compute_total(post, metric) - before end
    local sum = FIRST_SUM + metric
    if not state[sum] then
      for missing = #state + 1, sum do state[missing] = 0 end
    end
    local moved = state[sum] + change
    -- Both terms of a sum have to be small for it to be exact.
    if moved < 0 or moved >= SUM_MODULUS then moved = (state[sum] + change % SUM_MODULUS) % SUM_MODULUS end
    state[sum] = moved
  end

  -- Enters later changes under the next seq. Drops the oldest seqs, whole ones, if more is entered than is kept.
  local function advance()
    state[SEQ], state[ENTRIES_UNDER_SEQ] = format('%.0f', state[SEQ] + 1), 0
    local excess = call('ZCARD', posts_key) - (bucket.records_members and FEED_WITH_MEMBERS_MAX or FEED_MAX)
    if excess <= 0 then return end
    read_history()
    local dropped = call('ZRANGE', posts_key, excess - 1, excess - 1, 'WITHSCORES')[2]
    history[DROPPED_UP_TO], is_history_changed = tonumber(dropped), true
    call('ZREMRANGEBYSCORE', posts_key, '-inf', dropped)
  end

  -- @return some milestones whose records are final by now, `post metric #n` each
  function changed_posts.read_final(now_ms)
    local key = keys.track_key(bucket.key .. KEY_PROVISIONAL_MILESTONES)
    return call('ZRANGEBYSCORE', key, '-inf', now_ms - MILESTONE_FINAL_MS, 'LIMIT', 0, ENTRIES_PER_SEQ)
  end

  -- Enters these milestones. To be called before `flush`, which drops all if members are recorded from now on.
  function changed_posts.enter_final(final)
    if drops_all then call('UNLINK', posts_key) end
    drops_all = false
    for _, entry in ipairs(final) do
      state[ENTRIES_UNDER_SEQ] = state[ENTRIES_UNDER_SEQ] + call('ZADD', posts_key, 'CH', state[SEQ], entry)
      if state[ENTRIES_UNDER_SEQ] >= ENTRIES_PER_SEQ then advance() end
    end
    call('ZREM', bucket.key .. KEY_PROVISIONAL_MILESTONES, unpack(final))
  end

  -- Writes what is recorded. @return both fields as they are now; the history is nil if it has not changed
  local function flush()
    if drops_all then call('UNLINK', posts_key) end
    local packed_state = pack(unpack(state))
    if not is_history_changed then
      call('HSET', bucket.key, FIELD_CHANGED_POSTS, packed_state)
      return packed_state
    end
    local packed_history = pack(unpack(history))
    call('HSET', bucket.key, FIELD_CHANGED_POSTS, packed_state, FIELD_CHANGED_POSTS_HISTORY, packed_history)
    return packed_state, packed_history
  end

  -- To be called when a member of a post was turned on or off, if members are recorded.
  function changed_posts.record_member(index, metric, actor)
    member_count = member_count + 1
    changed_members[member_count] = names[index] .. ' ' .. metric .. ' ' .. actor
  end

  -- Records the first posts of `to_publish`, which have changed, and their members. An entry that stands under the seq already stays where it
  -- is, which is cheap. To be called before all other writes, because it fails, and writes nothing, if the key of the sorted set has
  -- another type.
  function changed_posts.record(changed_count)
    if changed_count == 0 then return end
    start_incarnation()
    local from, count, changed_at = 1, member_count + changed_count, state[CHANGED_AT]
    args[1], args[2] = posts_key, 'CH'
    while from <= count do
      local seq, last, to = state[SEQ], 2, min(count, from + ENTRIES_PER_SEQ - state[ENTRIES_UNDER_SEQ] - 1)
      for i = from, to do
        args[last + 1] = seq
        if i <= member_count then
          args[last + 2] = changed_members[i]
        else
          local index = to_publish[i - member_count]
          local updated_at = records[index][UPDATED_AT]
          if updated_at > changed_at then changed_at = updated_at end
          args[last + 2] = names[index]
        end
        last = last + 2
      end
      state[ENTRIES_UNDER_SEQ] = state[ENTRIES_UNDER_SEQ] + call('ZADD', unpack(args, 1, last))
      if state[ENTRIES_UNDER_SEQ] >= ENTRIES_PER_SEQ then advance() end
      from = to + 1
    end
    state[CHANGED_AT] = changed_at
    flush()
  end

  -- Whether a copy that has all up to this seq may lack something.
  function changed_posts.may_have_changes(after)
    return state[ENTRIES_UNDER_SEQ] > 0 or after < state[SEQ] - 1
  end

  -- Makes later changes get a later seq than those that are collected now. @return the last seq of these; whether something has changed
  function changed_posts.close_seq()
    local has_entries = state[ENTRIES_UNDER_SEQ] > 0
    if has_entries then advance() end
    return state[SEQ] - 1, has_entries
  end

  -- A copy below this seq needs a full sync.
  function changed_posts.dropped_up_to()
    read_history()
    return history[DROPPED_UP_TO]
  end

  changed_posts.start_incarnation, changed_posts.flush, are_functions_created = start_incarnation, flush, true
end

-- @param packed_state, packed_history  fields of the bucket's hash, false if there is none; nil: the history was not read
function changed_posts.open(packed_state, packed_history)
  bucket.is_recording, bucket.records_members = packed_state and true, false
  if not packed_state and packed_history == nil then return end
  if not are_functions_created then create_functions() end
  changed_posts.set_fields(packed_state, packed_history)
end

return changed_posts
