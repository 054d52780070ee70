#!lua flags=allow-oom
-- Collects posts that changed after a seq, in their newest state, and starts recording where nothing is recorded; the meaning is that of
-- ChangedPosts in changed-posts.ts. A bucket without changes costs little more than the read of its hash.
--
-- KEYS[i]  tc:{b}    the bucket's hash; derived from it: changed posts, chunks of posts
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of an incarnation that starts, a blank, wall time (ms since 1970)
-- ARGV[3]  number of this region, -1 without replication
-- ARGV[4]  1 if slots may move (a cluster), else 0
-- ARGV[5]  posts of a bucket, about
-- ARGV[6]  posts of all buckets, about; the buckets after them that have changes are skipped
-- ARGV[6 + i]  of bucket i: the seq
-- Returns  for each bucket a string: nothing if it was skipped; "-" and an error; or msgpack values:
--            1 if nothing has changed after these else 0, seq up to which these are all changes
--            the fields `changed_posts` and `changed_posts_history`
--            for each post: its name, its record
-- @include bucket keys incarnation replication-state msgpack posts changed-posts error-reply
-- @constants FIELD_CHANGED_POSTS FIELD_CHANGED_POSTS_HISTORY KEY_CHANGED_POSTS
local call, pack, min = redis.call, cmsgpack.pack, math.min
bucket.own_region, bucket.slots_may_move = tonumber(ARGV[3]), ARGV[4] == '1'
local limit, budget = tonumber(ARGV[5]), tonumber(ARGV[6])
local _, wall_ms = incarnation.new_values()

-- All posts of a seq or none.
-- @return names; the last seq of these posts as text, nil if there are no more
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

-- Adds each post and its record to the list. @return its new length
local function add_records(list, last, names)
  for _, name in ipairs(names) do
    local record = call('HGET', posts.chunk_key(name), name)
    if record then
      list[last + 1], list[last + 2] = name, record
      last = last + 2
    end
  end
  return last
end

-- @return the reply, and about how many posts it has
local function collect(i)
  bucket.reset(KEYS[i])
  local after = ARGV[6 + i]
  local sizes, packed_state, packed_history = replication_state.open_clock(FIELD_CHANGED_POSTS, FIELD_CHANGED_POSTS_HISTORY)
  bucket.set_sizes(sizes)
  changed_posts.open(packed_state, packed_history)
  if not bucket.is_recording then changed_posts.start() end
  local is_started = changed_posts.start_incarnation()
  local is_changed = changed_posts.note_read(wall_ms) or is_started
  local list, last, up_to, is_complete = {}, 4, changed_posts.dropped_up_to(), 0
  if tonumber(after) >= up_to then
    local names = {}
    if changed_posts.may_have_changes(tonumber(after)) then
      if budget <= 0 then return '', 0 end
      names, up_to = read_names(after, min(limit, budget))
    else
      up_to = nil
    end
    last = add_records(list, last, names)
  end
  keys.assert_slot_local()
  if not up_to then
    local is_closed
    up_to, is_closed = changed_posts.close_seq()
    is_complete, is_changed = 1, is_changed or is_closed
  end
  -- Written again with posts, so that waiting for replicas on this connection waits for their changes.
  if is_changed or last > 4 then
    local state, history = changed_posts.flush()
    packed_state, packed_history = state, history or packed_history
  end
  incarnation.write()
  if bucket.own_region >= 0 and bucket.is_state_changed then replication_state.write() end
  list[1], list[2], list[3], list[4] = is_complete, tonumber(up_to), packed_state, packed_history
  return msgpack.concat_packed(pack, list, last), last / 2 - 2
end

local pages = {}
for i = 1, #KEYS do
  local is_done, page, post_count = pcall(collect, i)
  pages[i], budget = is_done and page or error_reply.error_reply(page), budget - (post_count or 1)
end
return pages
