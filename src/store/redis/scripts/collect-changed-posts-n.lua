#!lua flags=allow-oom
-- Collects posts and members that changed after a seq, in their newest state, and starts recording where nothing is recorded; the meaning
-- is that of ChangedPosts in changed-posts.ts. A bucket without changes costs little more than the read of its hash.
--
-- KEYS[i]  tc:{b}    the bucket's hash; derived from it: changed posts, chunks of posts and members, milestones and their records
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of an incarnation that starts, a blank, wall time (ms since 1970)
-- ARGV[3]  number of this region, -1 without replication
-- ARGV[4]  1 if slots may move (a cluster), else 0
-- ARGV[5]  1 if members are to be recorded, too, else 0
-- ARGV[6]  posts and members of a bucket, about
-- ARGV[7]  posts and members of all buckets, about; the buckets after them that have changes are skipped
-- ARGV[7 + i]  of bucket i: the seq
-- Returns  for each bucket a string: nothing if it was skipped; "-" and an error; or msgpack values:
--            1 if nothing has changed after these else 0, seq up to which these are all changes
--            the fields `changed_posts` and `changed_posts_history`
--            number of posts, for each: its name, its record
--            number of milestones, for each: its post, metric, values of its record (lib/milestone-records.lua)
--            for each set with changed members: its post, metric, number of these members; for each: the actor's key in decimal,
--              1 if it is on else 0
-- @include bucket keys server-time linear-hashing incarnation replication-state msgpack post-record posts changed-posts milestone-records
-- @include provisional-milestones error-reply
-- @constants FIELD_CHANGED_POSTS FIELD_CHANGED_POSTS_HISTORY FIELD_MILESTONES KEY_CHANGED_POSTS
local call, pack, min, match = redis.call, cmsgpack.pack, math.min, string.match
bucket.own_region, bucket.slots_may_move = tonumber(ARGV[3]), ARGV[4] == '1'
local wants_members, limit, budget = ARGV[5] == '1', tonumber(ARGV[6]), tonumber(ARGV[7])
-- Values of a reply before its posts.
local HEADER_VALUES = 5
local _, wall_ms = incarnation.new_values()

-- All entries of a seq or none.
-- @return names of posts and members; the last seq of these as text, nil if there are no more
local function read_names(after, count)
  local key, low = bucket.key .. KEY_CHANGED_POSTS, '(' .. after
  local entries = call('ZRANGEBYSCORE', key, low, '+inf', 'WITHSCORES', 'LIMIT', 0, count)
  if #entries < 2 * count then
    local names = {}
    for i = 1, #entries, 2 do names[#names + 1] = entries[i] end
    return names
  end
  local last = entries[#entries]
  return call('ZRANGEBYSCORE', key, low, last), call('ZCOUNT', key, '(' .. last, '+inf') > 0 and last or nil
end

-- Groups the names of members that are neighbours in a set, as they are under one seq.
-- @return posts, with those of the members, each once; sets: post, metric, actors …; milestones: post, metric, n, the next post …
local function group_names(entries)
  local names, are_named, sets, set, reached = {}, {}, {}, nil, {}
  for _, entry in ipairs(entries) do
    local post, metric, actor = match(entry, '^(%S+) (%d+) (%S+)$')
    local name, n = post or entry, post and match(actor, '^#(%d+)$')
    if not n and not are_named[name] then names[#names + 1], are_named[name] = name, true end
    if n then
      reached[#reached + 1], reached[#reached + 2], reached[#reached + 3] = post, metric, tonumber(n)
    elseif post and set and set[1] == post and set[2] == metric then
      set[#set + 1] = actor
    elseif post then
      set = { post, metric, actor }
      sets[#sets + 1] = set
    end
  end
  return names, sets, reached
end

-- Adds each post and its record to the list. @return its new length, and the number of posts
local function add_records(list, last, names)
  local count = 0
  for _, name in ipairs(names) do
    local record = call('HGET', posts.chunk_key(name), name)
    if record then
      list[last + 1], list[last + 2] = name, record
      last, count = last + 2, count + 1
    end
  end
  return last, count
end

-- Adds the members of a set and whether each is on. @return the new length of the list
local function add_set(list, last, set)
  local name, metric = set[1], set[2]
  local record = post_record.decode(call('HGET', posts.chunk_key(name), name))
  local chunks = post_record.member_chunks(record, tonumber(metric))
  local size = linear_hashing.size_for(chunks)
  local groups, add = linear_hashing.group_by_chunk(keys.members_prefix(metric, name))
  for i = 3, #set do add(linear_hashing.chunk_for(linear_hashing.hash_key(set[i]), chunks, size), set[i]) end
  list[last + 1], list[last + 2], list[last + 3] = name, tonumber(metric), #set - 2
  last = last + 3
  for _, group in ipairs(groups) do
    local states = call('SMISMEMBER', keys.track_key(group[1]), unpack(group, 2))
    for i, on in ipairs(states) do
      list[last + 1], list[last + 2] = group[i + 1], on
      last = last + 2
    end
  end
  return last
end

-- Adds the records of milestones, after their number. @return the new length of the list
local function add_milestones(list, last, reached)
  local count_at, count = last + 1, 0
  last = count_at
  for i = 1, #reached, 3 do
    local name, metric = reached[i], reached[i + 1]
    local record = milestone_records.find(milestone_records.read(name, metric), reached[i + 2])
    if record then
      list[last + 1], list[last + 2] = name, tonumber(metric)
      for at, value in ipairs(record) do list[last + 2 + at] = value end
      last, count = last + 2 + #record, count + 1
    end
  end
  list[count_at] = count
  return last
end

-- Adds what is needed of posts, members and milestones. @return the new length of the list
local function add_entries(list, last, entries)
  local names, sets, reached = group_names(entries)
  last, list[HEADER_VALUES] = add_records(list, last, names)
  last = add_milestones(list, last, reached)
  for _, set in ipairs(sets) do last = add_set(list, last, set) end
  return last
end

-- @return the reply, and about how many posts and members it has
local function collect(i)
  bucket.reset(KEYS[i])
  local after = ARGV[7 + i]
  local sizes, packed_state, packed_history, milestones_field =
    replication_state.open_clock(FIELD_CHANGED_POSTS, FIELD_CHANGED_POSTS_HISTORY, FIELD_MILESTONES)
  bucket.set_sizes(sizes)
  changed_posts.open(packed_state, packed_history)
  if milestones_field then milestone_records.create() end
  local final, provisional = {}, nil
  if not bucket.is_recording then
    changed_posts.start()
    if milestones_field then provisional = provisional_milestones.read_all() end
  elseif milestones_field then
    final = changed_posts.read_final(server_time.now_ms())
  end
  -- Before members are recorded, because that raises the seq.
  local is_changed = changed_posts.start_incarnation()
  if wants_members and not bucket.records_members then
    changed_posts.start_members()
    is_changed = true
  end
  is_changed = changed_posts.note_read(wall_ms) or is_changed
  local list, last, up_to, is_complete, entries = {}, HEADER_VALUES, changed_posts.dropped_up_to(), 0, {}
  if tonumber(after) >= up_to then
    if changed_posts.may_have_changes(tonumber(after)) then
      if budget <= 0 then return '', 0 end
      entries, up_to = read_names(after, min(limit, budget))
    else
      up_to = nil
    end
  end
  last = add_entries(list, last, entries)
  keys.assert_slot_local()
  if not up_to then
    local is_closed
    up_to, is_closed = changed_posts.close_seq()
    is_complete, is_changed = 1, is_changed or is_closed
  end
  if provisional then provisional_milestones.write(provisional) end
  if #final > 0 then
    changed_posts.enter_final(final)
    is_changed = true
  end
  -- Written again with posts, so that waiting for replicas on this connection waits for their changes.
  if is_changed or #entries > 0 then
    local state, history = changed_posts.flush()
    packed_state, packed_history = state, history or packed_history
  end
  incarnation.write()
  if bucket.own_region >= 0 and bucket.is_state_changed then replication_state.write() end
  list[1], list[2], list[3], list[4] = is_complete, tonumber(up_to), packed_state, packed_history
  return msgpack.concat_packed(pack, list, last), #entries
end

local pages = {}
for i = 1, #KEYS do
  local is_done, page, entry_count = pcall(collect, i)
  pages[i], budget = is_done and page or error_reply.error_reply(page), budget - (entry_count or 1)
end
return pages
