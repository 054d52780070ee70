#!lua
-- Applies a batch to a bucket, once: the meaning is that of apply.ts. All is read and worked out before the first
-- write, for Redis does not take back what a script wrote before it failed.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: chunks of posts, members and marks
-- KEYS[2]  tc:{b}:f  fences
-- KEYS[3]  tc:{b}:g  fences of the day before
-- KEYS[4]  tc:{b}:l  viewers of posts
-- KEYS[5]  tc:{b}:t  when posts may be announced again
-- KEYS[6]  tc:{b}:d  posts that are due to be announced
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of the epoch, if a new one begins
-- ARGV[3]  incarnation of the gateway
-- ARGV[4]  number of the batch
-- ARGV[5]  its time, ms since 1970
-- ARGV[6]  least ms between two announcements of a post
-- ARGV[7]  kinds of the metrics, a letter each: s (a set of actors: toggle) or c (tally)
-- ARGV[8]  the posts, as a JSON array
-- ARGV[9]  the operations, as a JSON array with 7 places for each: place of the post (from 1), metric, kind (0 add, 1 set,
--          2 adjust), value, actor's key in decimal or "", session's or "", seq
-- Returns  {"gap" or "stale", number of the last batch} or
--          {"applied", epoch, nonce, ms until something is due (-1: nothing), outcomes (a digit each),
--           for each post: version, ms of its last change, viewers, 1 if it changed else 0, total of each metric}
-- include lib-bucket
-- include lib-announce
-- include lib-grow
local GENERATION_MS, GENERATION_MARKS = 3600000, 65536
local FENCES_MS, FENCES_MAX = 86400000, 4096
local APPLIED, DUPLICATE, ON = 1, 2, 4
local SET = 1

local run, incarnation = ARGV[1], ARGV[3]
local n, at, interval = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local metrics = #ARGV[7]
local names = cjson.decode(ARGV[8])
local operations = cjson.decode(ARGV[9])

local meta = call('HMGET', bucket, 'e', 'o', 'r', 'p', 'c', 'g', 'a', 'm', 'f')
local epoch, nonce = tonumber(meta[1]), tonumber(meta[2])
local new_life = meta[3] ~= run
if new_life then epoch, nonce = (epoch or 0) + 1, tonumber(ARGV[2]) end
local posts_known, post_chunks = tonumber(meta[4]) or 0, tonumber(meta[5]) or 1

local function save_life()
  if new_life then call('HSET', bucket, 'e', whole(epoch), 'o', whole(nonce), 'r', run) end
end

local function answer_of(outcomes, posts, changed)
  local answer = { 'applied', epoch, nonce, due_in(KEYS[6]), outcomes }
  local place = 5
  for first = 1, #names, 1000 do
    local last = math.min(first + 999, #names)
    local live = call('HMGET', KEYS[4], unpack(names, first, last))
    for i = first, last do
      local post = posts[names[i]]
      answer[place + 1], answer[place + 2] = post.v, post.at
      answer[place + 3], answer[place + 4] = tonumber(live[i - first + 1] or 0), changed[names[i]] and 1 or 0
      for metric = 0, metrics - 1 do answer[place + 5 + metric] = answered(total(post, metric)) end
      place = place + 4 + metrics
    end
  end
  return answer
end

-- The fence
all_here(KEYS)
local fence = call('HGET', KEYS[2], incarnation) or call('HGET', KEYS[3], incarnation)
local last, last_outcomes = 0, nil
if fence then last, last_outcomes = cmsgpack.unpack(fence) end
if fence and n == last then
  local posts = read_posts(names, post_chunks)
  -- Written again, so that waiting for replicas on this connection waits for the batch.
  call('HSET', KEYS[2], incarnation, fence)
  save_life()
  return answer_of(last_outcomes, posts, {})
end
if n ~= last + 1 then return { n > last and 'gap' or 'stale', last } end

-- What is read: posts; the marks of sessions; of actors, whether they are members
local posts = read_posts(names, post_chunks)

local generation, started, marks_now = tonumber(meta[6]) or 1, tonumber(meta[7]) or 0, tonumber(meta[8]) or 0
if at >= started + GENERATION_MS or marks_now >= GENERATION_MARKS then
  generation, started, marks_now = generation + 1, at, 0
end
local mark_chunks = tonumber(call('HGET', bucket, 'k' .. generation)) or 1
local mark_chunks_before = tonumber(call('HGET', bucket, 'k' .. (generation - 1))) or 1

local marks, members, toggled = {}, {}, {}
local function member_id(name, metric, actor)
  return metric .. ' ' .. actor .. ' ' .. name
end

local function read_marks_and_members()
  local mark_keys, sessions, add_session = groups()
  local mark_keys_before, sessions_before, add_session_before = groups()
  local member_keys, ids, add_id = groups()
  local chunk_now, chunk_before = chunks_of(mark_chunks), chunks_of(mark_chunks_before)
  for i = 1, #operations, 7 do
    local session, actor = operations[i + 5], operations[i + 4]
    if session ~= '' and not marks[session] then
      local hash = hash_of_key(session)
      marks[session] = { hash = hash, seq = 0 }
      add_session(marks_key(generation, chunk_now(hash)), session)
      add_session_before(marks_key(generation - 1, chunk_before(hash)), session)
    end
    if operations[i + 2] == SET and actor ~= '' then
      local name, metric = names[operations[i]], operations[i + 1]
      local id = member_id(name, metric, actor)
      if not members[id] then
        local hash, chunks = hash_of_key(actor), part(posts[name], metric, MORE_CHUNKS) + 1
        members[id] = { name = name, metric = metric, actor = actor, hash = hash }
        toggled[#toggled + 1] = members[id]
        add_id(members_key(metric, name, chunks_of(chunks)(hash)), members[id])
      end
    end
  end
  all_here(mark_keys)
  all_here(mark_keys_before)
  all_here(member_keys)
  ask('HMGET', mark_keys_before, sessions_before, function(session, seq)
    if seq then marks[session].seq = tonumber(seq) end
  end)
  ask('HMGET', mark_keys, sessions, function(session, seq)
    if seq then marks[session].seq, marks[session].here = tonumber(seq), true end
  end)
  for _, key in ipairs(member_keys) do
    local inside, actors = ids[key], {}
    for i, member in ipairs(inside) do actors[i] = member.actor end
    local place = 0
    ask('SMISMEMBER', { key }, { [key] = actors }, function(_, is)
      place = place + 1
      inside[place].was, inside[place].on = is == 1, is == 1
    end)
  end
end
read_marks_and_members()

-- What becomes of each operation
local changed, marks_new = {}, 0

local function add_to(post, metric, which, value)
  post.parts[4 * metric + which] = part(post, metric, which) + value
end

local function set(name, metric, value, actor)
  if actor == '' then return false end
  local member = members[member_id(name, metric, actor)]
  if member.on == (value == 1) then return false end
  member.on = value == 1
  add_to(posts[name], metric, MEMBERS, value == 1 and 1 or -1)
  return true
end

local function count(post, metric, value)
  if value > 0 and total(post, metric) + value > COUNT_MAX then return false end
  if value < 0 and plain(post, metric) + value < 0 then return false end
  add_to(post, metric, value > 0 and P or N, math.abs(value))
  return true
end

local function outcome_of(i)
  local name, metric, kind, value = names[operations[i]], operations[i + 1], operations[i + 2], operations[i + 3]
  local actor, session, seq = operations[i + 4], operations[i + 5], operations[i + 6]
  if session ~= '' then
    local mark = marks[session]
    if seq <= mark.seq then
      local on = kind == SET and actor ~= '' and members[member_id(name, metric, actor)].on
      return DUPLICATE + (on and ON or 0)
    end
    if not mark.here and not mark.dirty then marks_new = marks_new + 1 end
    mark.seq, mark.dirty = seq, true
  end
  local applied
  if kind == SET then applied = set(name, metric, value, actor) else applied = count(posts[name], metric, value) end
  if applied then changed[name] = true end
  return (applied and APPLIED or 0) + (kind == SET and value == 1 and ON or 0)
end

local digits = {}
for i = 1, #operations, 7 do digits[#digits + 1] = outcome_of(i) end
local outcomes = table.concat(digits)

-- Chunks that have to grow: read here, written below
local posts_new, changed_names = 0, {}
for name in pairs(changed) do
  local post = posts[name]
  if post.v == 0 then posts_new = posts_new + 1 end
  post.v, post.at = post.v + 1, math.max(post.at, at)
  changed_names[#changed_names + 1] = name
end

posts_known = posts_known + posts_new
local post_chunks_now = chunks_for(posts_known, POSTS_A_CHUNK, post_chunks)
grow(posts_key, post_chunks, post_chunks_now, 'HGETALL', 2, hash_of_post)

marks_now = marks_now + marks_new
local mark_chunks_now = chunks_for(marks_now, MARKS_A_CHUNK, mark_chunks)
grow(function(chunk) return marks_key(generation, chunk) end, mark_chunks, mark_chunks_now, 'HGETALL', 2, hash_of_key)

local function grow_members(name, metric)
  local parts = posts[name].parts
  local more = parts[4 * metric + MORE_CHUNKS] or 0
  local chunks = chunks_for(parts[4 * metric + MEMBERS] or 0, MEMBERS_A_CHUNK, more + 1)
  grow(function(chunk) return members_key(metric, name, chunk) end, more + 1, chunks, 'SMEMBERS', 1, hash_of_key)
  parts[4 * metric + MORE_CHUNKS] = chunks - 1
end
for _, member in ipairs(toggled) do
  local post = posts[member.name]
  post.grown = post.grown or {}
  if member.on and not member.was and not post.grown[member.metric] then
    post.grown[member.metric] = true
    grow_members(member.name, member.metric)
  end
end

-- What is only looked at below: a key of a wrong type is found here, before anything is written.
call('HLEN', KEYS[4])
call('ZCARD', KEYS[5])
call('ZCARD', KEYS[6])

-- Writes. Nothing fails from here on, as long as no command names a key that one before it has emptied: while a slot
-- moves, such a key counts as elsewhere. So members are added before others are removed, and fences renamed last.
move_entries()

local _, hashes, add_field = groups()
local post_chunk, mark_chunk = chunks_of(post_chunks_now), chunks_of(mark_chunks_now)
for _, name in ipairs(changed_names) do
  local key = posts_key(post_chunk(posts[name].hash))
  add_field(key, name)
  add_field(key, encode(posts[name]))
end
for session, mark in pairs(marks) do
  if mark.dirty then
    local key = marks_key(generation, mark_chunk(mark.hash))
    add_field(key, session)
    add_field(key, whole(mark.seq))
  end
end
for key, values in pairs(hashes) do write('HSET', key, values) end

local _, added, add_member = groups()
local _, removed, remove_member = groups()
for _, member in ipairs(toggled) do
  if member.on ~= member.was then
    local chunks = part(posts[member.name], member.metric, MORE_CHUNKS) + 1
    local key = members_key(member.metric, member.name, chunks_of(chunks)(member.hash))
    if member.on then add_member(key, member.actor) else remove_member(key, member.actor) end
  end
end
for key, values in pairs(added) do write('SADD', key, values) end
for key, values in pairs(removed) do write('SREM', key, values) end

call('HSET', KEYS[2], incarnation, cmsgpack.pack(n, outcomes))
local now, fences_since = now_ms(), tonumber(meta[9])
if not fences_since then
  call('HSET', bucket, 'f', whole(now))
elseif not fence and (now - fences_since >= FENCES_MS or call('HLEN', KEYS[2]) > FENCES_MAX) then
  call('RENAME', KEYS[2], KEYS[3])
  call('HSET', bucket, 'f', whole(now))
end
save_life()
call('HSET', bucket, 'p', whole(posts_known), 'c', whole(post_chunks_now), 'g', whole(generation), 'a', whole(started),
  'm', whole(marks_now), 'k' .. generation, whole(mark_chunks_now))
announce(changed_names, posts, whole(epoch), whole(nonce), KEYS[4], KEYS[5], KEYS[6], interval, metrics)
return answer_of(outcomes, posts, changed)
