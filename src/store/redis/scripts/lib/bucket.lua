-- scripts/lib/bucket.lua: the bucket that is being processed, in one table. A call about several buckets resets it for each key.
-- @constants FIELD_SIZES FIELD_VISIT_MARKS
local call, pack = redis.call, cmsgpack.pack

local bucket = {
  -- The bucket's hash, "tc:{17}", which is also the prefix of its other keys.
  key = KEYS[1],
  -- Whether slots may move to another server (a cluster).
  slots_may_move = true,
  -- Keys that were read and are not yet known to be on this server; false where slots cannot move. See lib/keys.lua.
  tracked = {},
  -- Number of this region, -1 without replication.
  own_region = -1,

  -- Set by lib/incarnation.lua. `is_new_incarnation`: the incarnation starts with this call.
  epoch = 0, nonce = 0, is_new_incarnation = false,

  -- The field `sizes`. Times are in ms; `producers_since_ms` is 0 before the first producer.
  post_count = 0, post_chunks = 1,
  producers_since_ms = 0,
  -- Generations of marks: see lib/marks.lua. That of visits is set by those that need it.
  session_marks = { number = 1, started_ms = 0, count = 0, chunks = 1, previous_chunks = 0 },
  visit_marks = { number = 1, started_ms = 0, count = 0, chunks = 1, previous_chunks = 0, previous_count = 0 },

  -- Set by lib/changed-posts.lua: whether it records for copies in other systems which posts change, and which members.
  is_recording = false, records_members = false,

  -- Set by lib/replication-state.lua: stamps, except `is_backfilling` (0 or 1), `synced_from` (names of regions with commas between them)
  -- and `predecessors` (epoch, nonce, the next epoch …).
  clock = 0, started_at_stamp = 0, recovered_up_to = 0, complete_up_to = 0, stable_stamp = 0, acked_up_to = 0, dropped_up_to = 0,
  synced_at_stamp = 0, is_backfilling = 0, synced_from = '', predecessors = {},
  -- Toggles that were ever written to the two toggle logs, and how many of them are removed.
  local_log_written = 0, local_log_removed = 0, remote_log_written = 0, remote_log_removed = 0,
  -- Whether more is to be written of these than the clock and `local_log_written`: of the state, and of the logs.
  is_state_changed = false, are_logs_changed = false,
}

function bucket.reset(key)
  bucket.key, bucket.tracked = key, bucket.slots_may_move and {}
end

local session_marks, visit_marks = bucket.session_marks, bucket.visit_marks

-- @param packed  the field `sizes`, false if there is none
function bucket.set_sizes(packed)
  local generation = session_marks
  if packed then
    bucket.post_count, bucket.post_chunks, generation.number, generation.started_ms, generation.count, generation.chunks, generation.previous_chunks,
      bucket.producers_since_ms = cmsgpack.unpack(packed)
  else
    bucket.post_count, bucket.post_chunks, generation.number, generation.started_ms, generation.count, generation.chunks, generation.previous_chunks,
      bucket.producers_since_ms = 0, 1, 1, 0, 0, 1, 0, 0
  end
end

function bucket.write_sizes()
  local generation = session_marks
  call('HSET', bucket.key, FIELD_SIZES, pack(bucket.post_count, bucket.post_chunks, generation.number, generation.started_ms, generation.count,
    generation.chunks, generation.previous_chunks, bucket.producers_since_ms))
end

-- Reads the generation of marks of visits.
function bucket.read_visit_marks()
  local packed, generation = call('HGET', bucket.key, FIELD_VISIT_MARKS), visit_marks
  if packed then
    generation.number, generation.started_ms, generation.count, generation.chunks, generation.previous_chunks, generation.previous_count =
      cmsgpack.unpack(packed)
  else
    generation.number, generation.started_ms, generation.count, generation.chunks, generation.previous_chunks = 1, 0, 0, 1, 0
    generation.previous_count = 0
  end
end

function bucket.write_visit_marks()
  local generation = visit_marks
  call('HSET', bucket.key, FIELD_VISIT_MARKS, pack(generation.number, generation.started_ms, generation.count, generation.chunks,
    generation.previous_chunks, generation.previous_count))
end

return bucket
