-- scripts/lib/posts.lua: the posts that are being processed, by index: read, changed and written.
-- @needs bucket keys linear-hashing chunk-growth post-record msgpack
-- @constants VALUES_AT_ONCE TIME_AHEAD_MAX_MS
-- @constants KEY_POSTS KEY_VIEWERS
local call, unpack, min = redis.call, unpack, math.min
local decode, encode, hash_post = post_record.decode, post_record.encode, linear_hashing.hash_post
local UPDATED_AT, VERSION = post_record.UPDATED_AT, post_record.VERSION
local args = msgpack.args

-- `viewers` are as Redis replies them: a text, or 0. `is_changed` is 1 if the current batch has changed the post, else 0.
local names, records, viewers, is_changed = {}, {}, {}, {}
-- Keys of the chunks that hold the posts.
local chunk_keys = {}
-- Indices of the posts that are to be written and published.
local to_publish = {}

-- The list that `read` reads, after which of its values the names are, and their number.
local list, names_at, count

local function read_chunk(key, from, to)
  local found = call('HMGET', key, unpack(list, names_at + from, names_at + to))
  for i = from, to do
    names[i], chunk_keys[i], records[i], is_changed[i] = list[names_at + i], key, decode(found[i - from + 1]), 0
  end
end

-- Reads posts and their viewers: `from[at + i]` is the name of the i-th, `from[hashes_at + i]` its hash.
local function read(from, at, hashes_at, count_of_names)
  list, names_at, count = from, at, count_of_names
  linear_hashing.each_chunk(list, hashes_at, count, bucket.post_chunks, bucket.key .. KEY_POSTS, read_chunk)
  for first = 1, count, VALUES_AT_ONCE do
    local last = min(count, first + VALUES_AT_ONCE - 1)
    local found = call('HMGET', bucket.key .. KEY_VIEWERS, unpack(list, names_at + first, names_at + last))
    for i = first, last do viewers[i] = found[i - first + 1] or 0 end
  end
end

-- The same for a list of names alone. Their hashes are added to it.
-- @return how many they are
local function read_named(list_of_names)
  local length = #list_of_names
  for i = 1, length do list_of_names[length + i] = hash_post(list_of_names[i]) end
  read(list_of_names, 0, length, length)
  return length
end

-- Key of the chunk that holds, or would hold, a post.
local function chunk_key(name)
  local post_chunks = bucket.post_chunks
  return keys.track_key(bucket.key .. KEY_POSTS .. linear_hashing.chunk_for(hash_post(name), post_chunks, linear_hashing.size_for(post_chunks)))
end

-- @param at_ms  time of the batch; 0 keeps the times of the posts. See nextUpdatedAtMs in bucket.ts
-- @return numbers of changed and of new posts
local function count_changed(at_ms)
  local changed_count, new_count = 0, 0
  for i = 1, count do
    if is_changed[i] == 1 then
      local post = records[i]
      if post[VERSION] == 0 then new_count = new_count + 1 end
      post[VERSION] = post[VERSION] + 1
      if at_ms > post[UPDATED_AT] or (at_ms > 0 and post[UPDATED_AT] > at_ms + TIME_AHEAD_MAX_MS) then post[UPDATED_AT] = at_ms end
      changed_count = changed_count + 1
      to_publish[changed_count] = i
    end
  end
  return changed_count, new_count
end

local function grow(new_count)
  bucket.post_count = bucket.post_count + new_count
  local needed = chunk_growth.chunks_needed(bucket.post_count, chunk_growth.HASH_LOAD_MAX, bucket.post_chunks)
  if needed == bucket.post_chunks then return end
  local prefix, size = bucket.key .. KEY_POSTS, linear_hashing.size_for(needed)
  chunk_growth.plan(prefix, bucket.post_chunks, needed, 'HGETALL', 2, hash_post)
  for i = 1, count do chunk_keys[i] = prefix .. linear_hashing.chunk_for(hash_post(names[i]), needed, size) end
  bucket.post_chunks = needed
end

-- Writes the first posts of `to_publish`, neighbours in a chunk by one command.
local function write(changed_count)
  local from = 1
  while from <= changed_count do
    local key, last, to = chunk_keys[to_publish[from]], 1, min(changed_count, from + VALUES_AT_ONCE - 1)
    args[1] = key
    repeat
      local i = to_publish[from]
      args[last + 1], args[last + 2] = names[i], encode(records[i])
      last, from = last + 2, from + 1
    until from > to or chunk_keys[to_publish[from]] ~= key
    call('HSET', unpack(args, 1, last))
  end
end

return {
  names = names, records = records, viewers = viewers, is_changed = is_changed, to_publish = to_publish,
  read = read, read_named = read_named, chunk_key = chunk_key,
  count_changed = count_changed, grow = grow, write = write,
}
