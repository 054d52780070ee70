-- scripts/lib/linear-hashing.lua: finds the chunk that holds a post, a session or an actor by linear hashing (Litwin, VLDB 1980).
-- docs/redis-keys.md explains it.
-- @needs bucket
-- @constants VALUES_AT_ONCE HASH_MULTIPLIER
local floor, byte = math.floor, string.byte

-- The power of two at or above the number of chunks.
local function size_for(chunks)
  local size = 1
  while size < chunks do size = size * 2 end
  return size
end

-- @param size  as `size_for` returns it
local function chunk_for(hash, chunks, size)
  local chunk = hash % size
  if chunk >= chunks then return chunk - size / 2 end
  return chunk
end

-- Equals hashPost in batch-encoder.ts, which sends it with a batch. Products stay below 2^53, where doubles are exact.
local function hash_post(post)
  local hash = 0
  for i = 1, #post do hash = (hash * HASH_MULTIPLIER + byte(post, i)) % 4294967296 end
  return floor(hash * HASH_MULTIPLIER % 4294967296 / 4096)
end

-- Hashes the key of an actor or a session, in decimal: its last nine digits, mixed because numbers of actors are often alike in
-- their low digits and bits. Equals hashKey in msgpack-writer.ts.
local function hash_key(key)
  return floor(math.abs(tonumber(string.sub(key, -9))) * HASH_MULTIPLIER % 4294967296 / 4096)
end

-- Calls `take(key of the chunk, from, to, first)` for neighbours that share a chunk; `list[hashes_at + i]` is the hash of the i-th.
-- Gateways send names in the order of their hashes' bits, the lowest first, in which all names of a chunk are neighbours.
local function each_chunk(list, hashes_at, count, chunks, prefix, take, first)
  local size, from, tracked = size_for(chunks), 1, bucket.tracked
  while from <= count do
    local chunk, to = chunk_for(list[hashes_at + from], chunks, size), from
    while to < count and to - from < VALUES_AT_ONCE - 1 and chunk_for(list[hashes_at + to + 1], chunks, size) == chunk do to = to + 1 end
    -- Lua prints a number slowly.
    local key = chunk == 0 and prefix .. '0' or prefix .. chunk
    if tracked then tracked[#tracked + 1] = key end
    take(key, from, to, first)
    from = to + 1
  end
end

-- Collects values by chunk. @return a list of groups, each the chunk's key and then values; the function that adds a value
local function group_by_chunk(prefix)
  local groups, group_of_chunk = {}, {}
  return groups, function(chunk, value)
    local group = group_of_chunk[chunk]
    if group then
      group[#group + 1] = value
    else
      group = { prefix .. chunk, value }
      group_of_chunk[chunk] = group
      groups[#groups + 1] = group
    end
  end
end

return {
  size_for = size_for, chunk_for = chunk_for, hash_post = hash_post, hash_key = hash_key,
  each_chunk = each_chunk, group_by_chunk = group_by_chunk,
}
