-- Posts that the current batch names: which of them it has changed, and how these are written.

local TIME_AHEAD_MAX_MS = 60000
-- How many posts the bucket has, and their chunks
local posts_known, post_chunks
-- By place: 1 if the batch has changed the post, else 0
local changed = {}

-- @param before  after how many of the values their names stand, and after these their hashes
local function read_named_posts(before)
  read_posts(values, before, before + posts_count, posts_count, post_chunks)
  for place = 1, posts_count do changed[place] = 0 end
end

-- @param at  time of the batch; 0 leaves the times of the posts as they are. See changedAtMs in bucket.ts
-- @return how many posts the batch has changed, and how many of them are new
local function count_changed(at)
  local found, posts_new = 0, 0
  for place = 1, posts_count do
    if changed[place] == 1 then
      local post = posts[place]
      if post[VERSION] == 0 then posts_new = posts_new + 1 end
      post[VERSION] = post[VERSION] + 1
      if at > post[AT] or (at > 0 and post[AT] > at + TIME_AHEAD_MAX_MS) then post[AT] = at end
      found = found + 1
      asked[found] = place
    end
  end
  return found, posts_new
end

local function grow_posts(posts_new)
  posts_known = posts_known + posts_new
  local chunks = chunks_for(posts_known, POSTS_A_CHUNK, post_chunks)
  if chunks == post_chunks then return end
  local prefix, size = posts_prefix(), size_of(chunks)
  grow(prefix, post_chunks, chunks, 'HGETALL', 2, hash_of_post)
  for place = 1, posts_count do post_keys[place] = prefix .. chunk_of(hash_of_post(names[place]), chunks, size) end
  post_chunks = chunks
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
