#!lua
-- Applies batches to buckets, each once, whole or not at all: the meaning is that of apply.ts. Of each all is read and worked
-- out before its first write, for Redis does not take back what a script wrote before it failed.
--
-- KEYS[i]  tc:{b}    the hash of batch i's bucket; derived from it: all other keys of the bucket
-- ARGV[1]  run id of the server
-- ARGV[2]  for a life that begins: its nonce, a blank, and the wall time (ms since 1970)
-- ARGV[3]  least ms between two announcements of a post
-- ARGV[4]  number of metrics
-- ARGV[5]  1 if slots may move (a cluster), else 0
-- ARGV[6]  number of the own region, -1 where there are no others
-- ARGV[6 + i]  batch i, as msgpack values one after the other (batch-packer.ts): how many come after this; incarnation of the
--          gateway, number of the batch, its time (ms since 1970); how many posts, sessions, sets and members it names;
--          names of the posts, their hashes; keys of the sessions (in decimal), their hashes;
--          for each set: place of its post, metric, how many members; actors' keys, set by set, their hashes;
--          for each operation: kind (0: off, 1: on, 2: count; 4 more with a session), place of its post, metric, place of its
--          member (0: nobody) or the value that it counts; with a session its place and the seq.
--          Places are counted from 1. Posts, sessions, and members of a set stand in the order that by_chunk is for
-- Returns  for each batch a string: "-" and what was wrong; or msgpack values one after the other:
--          1 (gap) or 2 (stale), number of the last batch; or
--          0 (applied), epoch, nonce, 1 + ms until something is due (0: nothing), outcomes (a byte each),
--           for each post: version, ms of its last change, viewers, 1 if it changed else 0, total of each metric
-- include post-record
-- include incarnation
-- include replication-state
-- include publish
-- include chunk-growth
-- include msgpack
-- include toggle-log
-- include registers
-- include spill-toggle-log
-- include batch
-- include posts
-- include session-marks
-- include members
-- include record-changes
-- include apply-operations
local FENCES_MS, FENCES_MAX = 86400000, 4096
local WAS_APPLIED, GAP, STALE = 0, 1, 2

local interval, metrics = tonumber(ARGV[3]), tonumber(ARGV[4])
slots_move, region = ARGV[5] == '1', tonumber(ARGV[6])

-- The bucket as it is, then as it will be; lib/posts, lib/session-marks and lib/incarnation have the rest of it.
local fences_since

local function answer_of(told_outcomes, due)
  scratch[1], scratch[2], scratch[3], scratch[4], scratch[5] = WAS_APPLIED, epoch, nonce, due + 1, told_outcomes
  local last = 5
  for place = 1, posts_count do
    local post = posts[place]
    scratch[last + 1], scratch[last + 2] = post[VERSION], post[AT]
    scratch[last + 3], scratch[last + 4] = tonumber(viewers[place]), changed[place]
    for metric = 0, metrics - 1 do scratch[last + 5 + metric] = total(post, metric) end
    last = last + 4 + metrics
  end
  return joined(pack, scratch, last)
end

-- @param is_new  whether nothing was known of the incarnation
-- @return whether a day of fences begins
local function write_fence(key, key_before, incarnation, fence, is_new)
  call('HSET', key, incarnation, fence)
  if not is_new then return false end
  local now = now_ms()
  if fences_since > 0 and now - fences_since < FENCES_MS and call('HLEN', key) <= FENCES_MAX then return false end
  if fences_since > 0 then call('RENAME', key, key_before) end
  fences_since = now
  return true
end

local function apply(fences, fences_before, pace, due, incarnation, n, at, fence)
  moves = {}
  local begins, ended, ended_chunks = begin_generation(at)
  read_marks()
  read_members()
  if region >= 0 then begin_marks() end
  local told = decide()
  local found, posts_new = count_changed(at)
  local marks_new = count_new_marks()
  if posts_new > 0 then grow_posts(posts_new) end
  if marks_new > 0 then grow_marks(marks_new) end
  if sets_count > 0 then grow_sets() end
  if region >= 0 then look_at_feed() end
  local watching = look(found, pace)
  local due_ms = due_in(due)
  all_here()

  -- Writes. Nothing fails from here on, as long as no command names a key that one before it has emptied: while a slot
  -- moves, such a key counts as elsewhere. So members are added before others are removed, and fences renamed last.
  move_entries()
  write_posts(found)
  write_marks()
  write_members()
  if region >= 0 then write_feed(next_stamp(at)) end
  local day_begins = write_fence(fences, fences_before, incarnation, pack(n, told), not fence)
  if begins or day_begins or posts_new > 0 or marks_new > 0 then
    call('HSET', bucket, 's', pack(posts_known, post_chunks, generation, started, marks_now, mark_chunks, mark_chunks_before,
      fences_since))
  end
  if ended then call('HSET', bucket, ended, ended_chunks) end
  write_life()
  if region >= 0 then write_regions() end
  if watching > 0 then
    announce(watching, epoch, nonce, pace, due, interval, metrics)
    due_ms = due_in(due)
  end
  return answer_of(told, due_ms)
end

local function commit(batch)
  take_apart(batch)
  local fences, fences_before, pace, due = bucket .. ':f', bucket .. ':g', bucket .. ':t', bucket .. ':d'
  touched = slots_move and { fences, fences_before, pace, due, bucket .. ':l' } or touched
  local state
  if region < 0 then
    local meta = call('HMGET', bucket, 'e', 'o', 'r', 's')
    take_life(meta[1], meta[2], meta[3])
    state = meta[4]
  else
    state = open_clock()
  end
  posts_known, post_chunks, generation, started, marks_now, mark_chunks, mark_chunks_before, fences_since = state_of(state)

  local incarnation, n, at = values[2], values[3], values[4]
  local fence = call('HGET', fences, incarnation) or call('HGET', fences_before, incarnation)
  local last, last_outcomes = 0, nil
  if fence then last, last_outcomes = cmsgpack.unpack(fence) end
  if n ~= last + 1 and not (fence and n == last) then
    all_here()
    return pack(n > last and GAP or STALE, last)
  end
  read_named_posts(HEADER_VALUES)
  if n == last + 1 then return apply(fences, fences_before, pace, due, incarnation, n, at, fence) end
  local due_ms = due_in(due)
  all_here()
  -- Written again, so that waiting for replicas on this connection waits for the batch.
  call('HSET', fences, incarnation, fence)
  write_life()
  if region >= 0 then write_regions() end
  return answer_of(last_outcomes, due_ms)
end

local answers = {}
for i, key in ipairs(KEYS) do
  bucket = key
  local done, answer = pcall(commit, ARGV[6 + i])
  if not done then answer = '-' .. (type(answer) == 'table' and answer.err or tostring(answer)) end
  answers[i] = answer
end
return answers
