-- Toggles by what they are called in marks and registers.

-- @return name of the post, metric, actor
local function take_apart_mark(mark)
  local name, metric, actor = string.match(mark, '^(%S+) (%d+) (%S+)$')
  return name, tonumber(metric), actor
end

-- The chunk in which the actor is, or would be, of a current post.
local function member_key(place, metric, actor)
  local chunks = part(posts[place], 4 * metric + MORE_CHUNKS) + 1
  return members_prefix(metric, names[place]) .. chunk_of(hash_of_key(actor), chunks, size_of(chunks))
end
