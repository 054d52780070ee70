-- scripts/lib/changed-posts.lua: records which posts changed, for copies of the counts in other systems; the meaning is that of
-- changed-posts.ts. A bucket without the field `changed_posts` records nothing, because nobody asked which of its posts changed.
-- @needs bucket keys msgpack post-record posts
-- @constants FEED_MAX METRICS_MAX POSTS_PER_SEQ SEQ_BEFORE_FIRST STARTS_MAX SUM_MODULUS
-- @constants FIELD_CHANGED_POSTS FIELD_CHANGED_POSTS_HISTORY KEY_CHANGED_POSTS
local call, pack, unpack, min, max, format = redis.call, cmsgpack.pack, unpack, math.min, math.max, string.format
local compute_total, UPDATED_AT = post_record.compute_total, post_record.UPDATED_AT
local names, records, to_publish, args = posts.names, posts.records, posts.to_publish, msgpack.args
-- Indices of the values in the field `changed_posts`; the last ones are sums, those of metrics that have changed by something.
local SEQ, POSTS_UNDER_SEQ, CHANGED_AT, EPOCH, NONCE, FIRST_SUM = 1, 2, 3, 4, 5, 6
-- The same in `changed_posts_history`; the last ones are the starts of incarnations: epoch, nonce, seq, time of the last change.
local DROPPED_UP_TO, START_VALUES = 1, 4

-- Values of the two fields. The history is nil until it is read, which is rarely needed.
local state, history
local is_history_changed = false
-- Totals before they were changed, by METRICS_MAX * index of the post + metric; the keys of this table, and their number.
local totals_before, totals_changed, total_count

local function unpack_history(packed)
  return packed and { cmsgpack.unpack(packed) } or { SEQ_BEFORE_FIRST }
end

-- Both are fields of the bucket's hash, false if it has none.
-- @param packed_history  nil: it was not read
local function open(packed_state, packed_history)
  bucket.is_recording, history, is_history_changed = packed_state and true, nil, false
  if packed_history ~= nil then history = unpack_history(packed_history) end
  if not packed_state then return end
  state, totals_before, totals_changed, total_count = { cmsgpack.unpack(packed_state) }, {}, {}, 0
  keys.track_key(bucket.key .. KEY_CHANGED_POSTS)
end

local function read_history()
  if not history then history = unpack_history(call('HGET', bucket.key, FIELD_CHANGED_POSTS_HISTORY)) end
end

-- Begins above the seq at which recording was stopped.
local function start()
  read_history()
  history = { history[DROPPED_UP_TO] }
  -- No incarnation has epoch 0: so the current one is noted as the first.
  bucket.is_recording, state = true, { history[DROPPED_UP_TO] + 1, 0, 0, 0, 0 }
  keys.track_key(bucket.key .. KEY_CHANGED_POSTS)
end

-- Forgets all but the seq, so that no copy takes its position for a current one when recording starts again.
local function stop()
  keys.assert_slot_local()
  call('UNLINK', bucket.key .. KEY_CHANGED_POSTS)
  call('HSET', bucket.key, FIELD_CHANGED_POSTS_HISTORY, pack(state[SEQ]))
  call('HDEL', bucket.key, FIELD_CHANGED_POSTS)
end

-- Notes with which seq the current incarnation goes on. @return whether it is not the last one that was noted
local function start_incarnation()
  if state[EPOCH] == bucket.epoch and state[NONCE] == bucket.nonce then return false end
  read_history()
  state[EPOCH], state[NONCE], is_history_changed = bucket.epoch, bucket.nonce, true
  local last = #history
  history[last + 1], history[last + 2], history[last + 3], history[last + 4] = bucket.epoch, bucket.nonce, state[SEQ], state[CHANGED_AT]
  if last >= DROPPED_UP_TO + START_VALUES * STARTS_MAX then
    history = { history[DROPPED_UP_TO], unpack(history, DROPPED_UP_TO + START_VALUES + 1) }
  end
  return true
end

-- Keeps a total of a post that is about to change, unless it has changed before.
-- @param total  nil: it is computed
local function keep_total(index, metric, total)
  local id = METRICS_MAX * index + metric
  if totals_before[id] then return end
  totals_before[id] = total or compute_total(records[index], metric)
  total_count = total_count + 1
  totals_changed[total_count] = id
end

local function move_sums()
  for i = 1, total_count do
    local id = totals_changed[i]
    local metric = id % METRICS_MAX
    local sum = FIRST_SUM + metric
    for missing = #state + 1, sum do state[missing] = 0 end
    local change = compute_total(records[(id - metric) / METRICS_MAX], metric) - totals_before[id]
    state[sum] = (state[sum] + change % SUM_MODULUS) % SUM_MODULUS
  end
end

-- Enters later changes under the next seq. Drops the oldest seqs, whole ones, if more posts are entered than FEED_MAX.
local function advance()
  state[SEQ], state[POSTS_UNDER_SEQ] = state[SEQ] + 1, 0
  local key = bucket.key .. KEY_CHANGED_POSTS
  local excess = call('ZCARD', key) - FEED_MAX
  if excess <= 0 then return end
  read_history()
  local dropped = call('ZRANGE', key, excess - 1, excess - 1, 'WITHSCORES')[2]
  history[DROPPED_UP_TO], is_history_changed = tonumber(dropped), true
  call('ZREMRANGEBYSCORE', key, '-inf', dropped)
end

-- A post that stands under the seq already stays where it is, which is cheap.
local function enter(changed_count)
  local key, from = bucket.key .. KEY_CHANGED_POSTS, 1
  args[1], args[2] = key, 'CH'
  while from <= changed_count do
    local seq, last, to = format('%.0f', state[SEQ]), 2, min(changed_count, from + POSTS_PER_SEQ - state[POSTS_UNDER_SEQ] - 1)
    for i = from, to do
      args[last + 1], args[last + 2] = seq, names[to_publish[i]]
      last = last + 2
    end
    state[POSTS_UNDER_SEQ] = state[POSTS_UNDER_SEQ] + call('ZADD', unpack(args, 1, last))
    if state[POSTS_UNDER_SEQ] >= POSTS_PER_SEQ then advance() end
    from = to + 1
  end
end

-- Writes what is recorded. @return both fields as they are now; the history is nil if it has not changed
local function flush()
  local packed_state = pack(unpack(state))
  if not is_history_changed then
    call('HSET', bucket.key, FIELD_CHANGED_POSTS, packed_state)
    return packed_state
  end
  local packed_history = pack(unpack(history))
  call('HSET', bucket.key, FIELD_CHANGED_POSTS, packed_state, FIELD_CHANGED_POSTS_HISTORY, packed_history)
  return packed_state, packed_history
end

-- Records the first posts of `to_publish`, which have changed. To be called before all other writes, because it fails, and writes nothing,
-- if the key of the changed posts has another type.
local function record(changed_count)
  if changed_count == 0 then return end
  start_incarnation()
  enter(changed_count)
  for i = 1, changed_count do state[CHANGED_AT] = max(state[CHANGED_AT], records[to_publish[i]][UPDATED_AT]) end
  move_sums()
  flush()
end

-- Whether a copy that has all up to this seq may lack something.
local function may_have_changes(after)
  return state[POSTS_UNDER_SEQ] > 0 or after < state[SEQ] - 1
end

-- Makes later changes get a later seq than those that are collected now. @return the last seq of these; whether something has changed
local function close_seq()
  local has_posts = state[POSTS_UNDER_SEQ] > 0
  if has_posts then advance() end
  return state[SEQ] - 1, has_posts
end

-- A copy below this seq needs a full sync.
local function dropped_up_to()
  read_history()
  return history[DROPPED_UP_TO]
end

return {
  open = open, start = start, stop = stop, start_incarnation = start_incarnation, keep_total = keep_total, record = record, flush = flush,
  may_have_changes = may_have_changes, close_seq = close_seq, dropped_up_to = dropped_up_to,
}
