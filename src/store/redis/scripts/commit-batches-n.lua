#!lua
-- Applies batches to buckets, each once, whole or not at all: the meaning is that of apply.ts. Of each all is read and worked
-- out before its first write, for Redis does not take back what a script wrote before it failed.
--
-- KEYS[i]  tc:{b}    the hash of batch i's bucket; derived from it: all other keys of the bucket
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of the epochs that begin
-- ARGV[3]  least ms between two announcements of a post
-- ARGV[4]  number of metrics
-- ARGV[5]  1 if slots may move (a cluster), else 0
-- ARGV[5 + i]  batch i, as msgpack values one after the other (batch-packer.ts): how many come after this; incarnation of the
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
-- include lib-bucket
-- include lib-announce
-- include lib-grow
local GENERATION_MS, GENERATION_MARKS = 3600000, 65536
local FENCES_MS, FENCES_MAX = 86400000, 4096
local APPLIED, DUPLICATE, ON = 1, 2, 4
local COUNT, MARKED = 2, 4
local WAS_APPLIED, GAP, STALE = 0, 1, 2
local HEADER_VALUES = 8

local run, nonce_new, interval, metrics = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
slots_move = ARGV[5] == '1'

-- The batch at hand: its values, how many of what it names, and after which of the values these stand
local values, posts_count, sessions_count, sets_count
local sessions, marks, sets, members, states, operations
-- The bucket as it is, then as it will be
local epoch, nonce, new_life
local posts_known, post_chunks, generation, started, marks_now, mark_chunks, mark_chunks_before, fences_since
-- Hashes of sessions and of members give way to what is known of them: the last seq; whether it is on, 1 or 0. What was read:
local seq_read, here, was_on = {}, {}, {}
-- The chunks in which they are, and the last place in each
local mark_keys, mark_ends, mark_groups = {}, {}, 0
local member_keys, member_ends, member_groups = {}, {}, 0
local changed, outcomes, scratch = {}, {}, {}

-- In parts, if they are many. The first is no value: it is the offset of what comes after them.
local function values_of(packed)
  local offset, left = unpack_values(packed, 1, 0)
  if left <= AT_ONCE then return { unpack_values(packed, left, offset) } end
  local all, last = { 0 }, 1
  while left > 0 do
    local some = { unpack_values(packed, min(left, AT_ONCE), offset) }
    for i = 2, #some do all[last + i - 1] = some[i] end
    offset, last, left = some[1], last + #some - 1, left - #some + 1
  end
  return all
end

-- What `make` makes of a list, as a string: of its parts one after the other, if it is long.
local function joined(make, list, count)
  if count <= AT_ONCE then return make(unpack(list, 1, count)) end
  local parts = {}
  for i = 1, count, AT_ONCE do parts[#parts + 1] = make(unpack(list, i, min(i + AT_ONCE - 1, count))) end
  return table.concat(parts)
end

local function take_apart(batch)
  values, moves = values_of(batch), {}
  mark_groups, member_groups = 0, 0
  local members_count
  posts_count, sessions_count, sets_count, members_count = values[5], values[6], values[7], values[8]
  sessions = HEADER_VALUES + 2 * posts_count
  marks = sessions + sessions_count
  sets = marks + sessions_count
  members = sets + 3 * sets_count
  states = members + members_count
  operations = states + members_count
end

local function read_named_posts()
  read_posts(values, HEADER_VALUES, HEADER_VALUES + posts_count, posts_count, post_chunks)
  for place = 1, posts_count do changed[place] = 0 end
end

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

local function read_marks_of(key, from, to)
  mark_groups = mark_groups + 1
  mark_keys[mark_groups], mark_ends[mark_groups] = key, to
  if from == to then
    local seq = call('HGET', key, values[sessions + from])
    seq = seq and tonumber(seq)
    here[from] = seq
    if seq then values[marks + from], seq_read[from] = seq, seq end
    return
  end
  local seqs = call('HMGET', key, unpack(values, sessions + from, sessions + to))
  for i = from, to do
    local seq = seqs[i - from + 1] and tonumber(seqs[i - from + 1])
    here[i] = seq
    if seq then values[marks + i], seq_read[i] = seq, seq end
  end
end

-- Those that have no mark in this generation may have one in the one before.
local function read_marks_before()
  local missing, places, count = {}, {}, 0
  for i = 1, sessions_count do
    if not here[i] then
      count = count + 1
      places[count] = i
    end
  end
  if count == 0 then return end
  for i = 1, count do missing[i] = values[sessions + places[i]] end
  for i = 1, count do
    local mark = marks + places[i]
    missing[count + i], values[mark], seq_read[places[i]] = values[mark], 0, 0
  end
  if mark_chunks_before == 0 then return end
  by_chunk(missing, count, count, mark_chunks_before, marks_prefix(generation - 1), function(key, from, to)
    local seqs = call('HMGET', key, unpack(missing, from, to))
    for i = from, to do
      local seq = seqs[i - from + 1]
      if seq then
        seq = tonumber(seq)
        values[marks + places[i]], seq_read[places[i]] = seq, seq
      end
    end
  end)
end

local function read_members_of(key, from, to, first)
  from, to = first + from, first + to
  member_groups = member_groups + 1
  member_keys[member_groups], member_ends[member_groups] = key, to
  if from == to then
    local on = call('SISMEMBER', key, values[members + from])
    values[states + from], was_on[from] = on, on
    return
  end
  local are = call('SMISMEMBER', key, unpack(values, members + from, members + to))
  for i = from, to do
    local on = are[i - from + 1]
    values[states + i], was_on[i] = on, on
  end
end

local function read_members()
  local first = 0
  for i = sets + 1, sets + 3 * sets_count, 3 do
    local place, metric, many = values[i], values[i + 1], values[i + 2]
    local chunks = part(posts[place], 4 * metric + MORE_CHUNKS) + 1
    by_chunk(values, states + first, many, chunks, members_prefix(metric, names[place]), read_members_of, first)
    first = first + many
  end
end

local function count(place, metric, value)
  local post, first_tag = posts[place], 4 * metric
  if value > 0 then
    if total(post, metric) + value > COUNT_MAX then return 0 end
    set_part(post, first_tag + P, part(post, first_tag + P) + value)
  else
    local taken = part(post, first_tag + N)
    if part(post, first_tag + P) - taken + value < 0 then return 0 end
    set_part(post, first_tag + N, taken - value)
  end
  changed[place] = 1
  return APPLIED
end

-- What becomes of an operation that its session has not done before. `on`: whether its member is on, nil for nobody
local function outcome_of(kind, place, metric, value, on)
  if kind == COUNT then return count(place, metric, value) end
  if on == nil or on == kind then return ON * kind end
  values[states + value] = kind
  local tag = 4 * metric + MEMBERS
  set_part(posts[place], tag, part(posts[place], tag) + 2 * kind - 1)
  changed[place] = 1
  return APPLIED + ON * kind
end

local function decide()
  local number, i, last = 0, operations + 1, #values
  while i <= last do
    local kind, place, metric, value = values[i], values[i + 1], values[i + 2], values[i + 3]
    local is_done, on = false, nil
    if kind >= MARKED then
      kind = kind - MARKED
      local mark, seq = marks + values[i + 4], values[i + 5]
      is_done = seq <= values[mark]
      if not is_done then values[mark] = seq end
      i = i + 6
    else
      i = i + 4
    end
    if kind ~= COUNT and value > 0 then on = values[states + value] end
    number = number + 1
    if is_done then
      outcomes[number] = on == 1 and DUPLICATE + ON or DUPLICATE
    else
      outcomes[number] = outcome_of(kind, place, metric, value, on)
    end
  end
  return joined(string.char, outcomes, number)
end

-- @return how many posts the batch has changed, and how many of them are new
local function count_changed(at)
  local found, posts_new = 0, 0
  for place = 1, posts_count do
    if changed[place] == 1 then
      local post = posts[place]
      if post[VERSION] == 0 then posts_new = posts_new + 1 end
      post[VERSION] = post[VERSION] + 1
      if at > post[AT] then post[AT] = at end
      found = found + 1
      asked[found] = place
    end
  end
  return found, posts_new
end

local function count_new_marks()
  local found = 0
  for i = 1, sessions_count do
    if not here[i] and values[marks + i] ~= seq_read[i] then found = found + 1 end
  end
  return found
end

-- Chunks that have to grow: read here, written with the rest
local function grow_posts(posts_new)
  posts_known = posts_known + posts_new
  local chunks = chunks_for(posts_known, POSTS_A_CHUNK, post_chunks)
  if chunks == post_chunks then return end
  local prefix, size = posts_prefix(), size_of(chunks)
  grow(prefix, post_chunks, chunks, 'HGETALL', 2, hash_of_post)
  for place = 1, posts_count do post_keys[place] = prefix .. chunk_of(hash_of_post(names[place]), chunks, size) end
  post_chunks = chunks
end

local function grow_marks(marks_new)
  marks_now = marks_now + marks_new
  local chunks = chunks_for(marks_now, MARKS_A_CHUNK, mark_chunks)
  if chunks == mark_chunks then return end
  local prefix, size = marks_prefix(generation), size_of(chunks)
  grow(prefix, mark_chunks, chunks, 'HGETALL', 2, hash_of_key)
  for i = 1, sessions_count do
    mark_keys[i], mark_ends[i] = prefix .. chunk_of(hash_of_key(values[sessions + i]), chunks, size), i
  end
  mark_groups, mark_chunks = sessions_count, chunks
end

-- @return whether it has grown
local function grow_set(post, metric, name)
  local tag = 4 * metric
  local entries, more = part(post, tag + MEMBERS), part(post, tag + MORE_CHUNKS)
  -- Most are small.
  if entries <= MEMBERS_A_CHUNK * SPLITTING_FROM then return false end
  local chunks = chunks_for(entries, MEMBERS_A_CHUNK, more + 1)
  if chunks == more + 1 then return false end
  grow(members_prefix(metric, name), more + 1, chunks, 'SMEMBERS', 1, hash_of_key)
  set_part(post, tag + MORE_CHUNKS, chunks - 1)
  return true
end

local function grow_sets()
  local grown = false
  for i = sets + 1, sets + 3 * sets_count, 3 do
    grown = grow_set(posts[values[i]], values[i + 1], names[values[i]]) or grown
  end
  if not grown then return end
  member_groups = 0
  for i = sets + 1, sets + 3 * sets_count, 3 do
    local place, metric, many = values[i], values[i + 1], values[i + 2]
    local chunks = part(posts[place], 4 * metric + MORE_CHUNKS) + 1
    local prefix, size = members_prefix(metric, names[place]), size_of(chunks)
    for member = member_groups + 1, member_groups + many do
      local chunk = chunk_of(hash_of_key(values[members + member]), chunks, size)
      member_keys[member], member_ends[member] = prefix .. chunk, member
    end
    member_groups = member_groups + many
  end
end

-- Of neighbours in a chunk by one command
local function write_posts(found)
  local from = 1
  while from <= found do
    local key, last, to = post_keys[asked[from]], 1, min(found, from + AT_ONCE - 1)
    scratch[1] = key
    repeat
      local place = asked[from]
      scratch[last + 1], scratch[last + 2] = names[place], encode(posts[place])
      last, from = last + 2, from + 1
    until from > to or post_keys[asked[from]] ~= key
    call('HSET', unpack(scratch, 1, last))
  end
end

local function write_marks()
  local from = 1
  for group = 1, mark_groups do
    local key, last, to = mark_keys[group], 1, mark_ends[group]
    if from == to then
      local seq = values[marks + from]
      if seq ~= seq_read[from] then call('HSET', key, values[sessions + from], seq) end
    else
      scratch[1] = key
      for i = from, to do
        local seq = values[marks + i]
        if seq ~= seq_read[i] then
          scratch[last + 1], scratch[last + 2] = values[sessions + i], seq
          last = last + 2
        end
      end
      if last > 1 then call('HSET', unpack(scratch, 1, last)) end
    end
    from = to + 1
  end
end

local function write_changed_members(command, key, from, to, on)
  local last = 1
  scratch[1] = key
  for i = from, to do
    if values[states + i] == on and was_on[i] ~= on then
      last = last + 1
      scratch[last] = values[members + i]
    end
  end
  if last > 1 then call(command, unpack(scratch, 1, last)) end
end

local function write_members()
  local from = 1
  for group = 1, member_groups do
    local key, to = member_keys[group], member_ends[group]
    if from == to then
      local on = values[states + from]
      if on ~= was_on[from] then call(on == 1 and 'SADD' or 'SREM', key, values[members + from]) end
    else
      -- In this order: see below.
      write_changed_members('SADD', key, from, to, 1)
      write_changed_members('SREM', key, from, to, 0)
    end
    from = to + 1
  end
end

local function write_life()
  if new_life then call('HSET', bucket, 'e', epoch, 'o', nonce, 'r', run) end
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

-- Marks of the generation before are no longer looked at: a sweep finds them by their number of chunks.
-- @return that number's field and value, if there are any
local function begin_generation(at)
  local field, chunks = 'k' .. (generation - 1), mark_chunks_before
  generation, started, mark_chunks_before = generation + 1, at, marks_now > 0 and mark_chunks or 0
  marks_now, mark_chunks = 0, 1
  if chunks > 0 then return field, chunks end
end

local function apply(fences, fences_before, pace, due, incarnation, n, at, fence)
  local ended, ended_chunks
  local begins = at >= started + GENERATION_MS or marks_now >= GENERATION_MARKS
  if begins then ended, ended_chunks = begin_generation(at) end
  if sessions_count > 0 then
    by_chunk(values, marks, sessions_count, mark_chunks, marks_prefix(generation), read_marks_of)
    read_marks_before()
  end
  read_members()
  local told = decide()
  local found, posts_new = count_changed(at)
  local marks_new = count_new_marks()
  if posts_new > 0 then grow_posts(posts_new) end
  if marks_new > 0 then grow_marks(marks_new) end
  if sets_count > 0 then grow_sets() end
  local watching = look(found, pace)
  local due_ms = due_in(due)
  all_here()

  -- Writes. Nothing fails from here on, as long as no command names a key that one before it has emptied: while a slot
  -- moves, such a key counts as elsewhere. So members are added before others are removed, and fences renamed last.
  move_entries()
  write_posts(found)
  write_marks()
  write_members()
  local day_begins = write_fence(fences, fences_before, incarnation, pack(n, told), not fence)
  if begins or day_begins or posts_new > 0 or marks_new > 0 then
    call('HSET', bucket, 's', pack(posts_known, post_chunks, generation, started, marks_now, mark_chunks, mark_chunks_before,
      fences_since))
  end
  if ended then call('HSET', bucket, ended, ended_chunks) end
  write_life()
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
  local meta = call('HMGET', bucket, 'e', 'o', 'r', 's')
  epoch, nonce, new_life = tonumber(meta[1]), tonumber(meta[2]), meta[3] ~= run
  if new_life then epoch, nonce = (epoch or 0) + 1, nonce_new end
  posts_known, post_chunks, generation, started, marks_now, mark_chunks, mark_chunks_before, fences_since = state_of(meta[4])

  local incarnation, n, at = values[2], values[3], values[4]
  local fence = call('HGET', fences, incarnation) or call('HGET', fences_before, incarnation)
  local last, last_outcomes = 0, nil
  if fence then last, last_outcomes = cmsgpack.unpack(fence) end
  if n ~= last + 1 and not (fence and n == last) then
    all_here()
    return pack(n > last and GAP or STALE, last)
  end
  read_named_posts()
  if n == last + 1 then return apply(fences, fences_before, pace, due, incarnation, n, at, fence) end
  local due_ms = due_in(due)
  all_here()
  -- Written again, so that waiting for replicas on this connection waits for the batch.
  call('HSET', fences, incarnation, fence)
  write_life()
  return answer_of(last_outcomes, due_ms)
end

local answers = {}
for i, key in ipairs(KEYS) do
  bucket = key
  local done, answer = pcall(commit, ARGV[5 + i])
  if not done then answer = '-' .. (type(answer) == 'table' and answer.err or tostring(answer)) end
  answers[i] = answer
end
return answers
