#!lua flags=no-writes
-- Lists members of posts chunk by chunk. A member moves only to chunks with higher numbers, so none is missed over several calls.
--
-- KEYS[i]  tc:{b}    the bucket's hash; derived from it: chunks of posts and members
-- ARGV[1]  run id of the server
-- ARGV[2]  1 if slots may move (a cluster), else 0
-- ARGV[3]  kinds of the metrics, a letter each: s (with a set of actors) or c (a count)
-- ARGV[4]  metric of the first post to begin with
-- ARGV[5]  chunk of its members to begin with
-- ARGV[6]  members, about
-- ARGV[7]  posts and chunks, about
-- ARGV[7 + i]  posts of bucket i, JSON array
-- Returns  {number of posts that were read to the end, metric and chunk to go on with in the next one,
--           for each chunk that has members: {its post, metric, the actors' keys in decimal}}
-- @include bucket keys post-record posts
-- @constants KIND_WITH_MEMBERS FIELD_SIZES
local call, sub = redis.call, string.sub
bucket.slots_may_move = ARGV[2] == '1'
local kinds, metric, chunk, members_left, reads_left = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local reply, read_count = {}, 0

-- Goes on with a post. @return whether it was read to the end
local function read_post(name)
  local post = post_record.decode(call('HGET', posts.chunk_key(name), name))
  reads_left = reads_left - 1
  while metric < #kinds do
    local has_members = sub(kinds, metric + 1, metric + 1) == KIND_WITH_MEMBERS
    local prefix, chunks = keys.members_prefix(metric, name), has_members and post_record.member_chunks(post, metric) or 0
    while chunk < chunks do
      if members_left <= 0 or reads_left <= 0 then return false end
      local actors = call('SMEMBERS', keys.track_key(prefix .. chunk))
      if #actors > 0 then reply[#reply + 1] = { name, metric, actors } end
      members_left, reads_left, chunk = members_left - #actors, reads_left - 1, chunk + 1
    end
    metric, chunk = metric + 1, 0
  end
  metric, read_count = 0, read_count + 1
  return true
end

-- @return whether all posts of the bucket were read to the end
local function read_bucket(key, names)
  bucket.reset(key)
  bucket.set_sizes(call('HGET', key, FIELD_SIZES))
  local is_done = true
  for _, name in ipairs(names) do
    is_done = reads_left > 0 and read_post(name)
    if not is_done then break end
  end
  keys.assert_slot_local()
  return is_done
end

for i, key in ipairs(KEYS) do
  if not read_bucket(key, cjson.decode(ARGV[7 + i])) then break end
end
return { read_count, metric, chunk, reply }
