-- scripts/lib/chunk-growth.lua: splits chunks before they outgrow what Redis packs. Entries of chunks that are split are read with the
-- script's other reads, and written with its other writes.
-- @needs keys linear-hashing
-- @constants VALUES_AT_ONCE
local call, unpack, min, max = redis.call, unpack, math.min, math.max
local size_for, chunk_for, track_key = linear_hashing.size_for, linear_hashing.chunk_for, keys.track_key
-- All chunks are split between this share of the load and the whole of it: a few with each batch, instead of all at once.
local SPLITTING_FROM = 0.75

-- Entries to be moved.
local moves = {}

-- Forgets what a bucket that failed has planned.
local function clear()
  moves = {}
end

-- The chunk that gives half of its entries to the new chunk `number`.
local function source_for(number)
  return number - size_for(number + 1) / 2
end

-- @param load_max  mean entries of the fullest chunks
-- @return the number of chunks; it never shrinks
local function chunks_needed(entries, load_max, chunks_now)
  local size = 1
  while entries > load_max * size do size = size * 2 end
  local load = entries / (load_max * size)
  local split = math.ceil(size * max(0, (load - SPLITTING_FROM) / (1 - SPLITTING_FROM)))
  return max(chunks_now, size + split)
end

-- @param prefix  of the keys of chunks; the chunk's number follows
-- @param read    command that reads a chunk
-- @param step    2 if the chunk's entries have a field and a value, else 1
-- @param hash    the function that hashes an entry
local function plan(prefix, from, to, read, step, hash)
  local sources = {}
  for number = from, to - 1 do
    local key = track_key(prefix .. number)
    if call('EXISTS', key) == 1 then error(key .. ' is in the way of a new chunk') end
    local source = number
    while source >= from do source = source_for(source) end
    sources[source] = prefix .. source
  end
  local size = size_for(to)
  for _, key in pairs(sources) do
    local groups, add = linear_hashing.group_by_chunk(prefix)
    local entries = call(read, track_key(key))
    for i = 1, #entries, step do
      local chunk = chunk_for(hash(entries[i]), to, size)
      for j = i, i + step - 1 do add(chunk, entries[j]) end
    end
    moves[#moves + 1] = { from = key, groups = groups, write = step == 2 and 'HSET' or 'SADD' }
  end
end

local function write()
  if #moves == 0 then return end
  for _, move in ipairs(moves) do
    call('DEL', move.from)
    for _, group in ipairs(move.groups) do
      for first = 2, #group, VALUES_AT_ONCE do
        call(move.write, group[1], unpack(group, first, min(first + VALUES_AT_ONCE - 1, #group)))
      end
    end
  end
  moves = {}
end

return {
  -- Redis packs hashes of up to 128 entries and sets of up to 512 integers (hash-max-listpack-entries, set-max-intset-entries).
  -- These means are three and four standard deviations below, so that few chunks ever cross the limits.
  HASH_LOAD_MAX = 96, SET_LOAD_MAX = 430, SPLITTING_FROM = SPLITTING_FROM,
  clear = clear, chunks_needed = chunks_needed, plan = plan, write = write,
}
