-- Chunks that grow in number: entries of those that are split are read first, and written with the script's other writes.

-- Mean entries of the fullest chunks. Redis packs hashes of up to 128 entries and sets of up to 512 integers
-- (hash-max-listpack-entries, set-max-intset-entries); these are three and four standard deviations below, so that few
-- chunks ever cross that.
local POSTS_A_CHUNK = 96
local MARKS_A_CHUNK = 96
local MEMBERS_A_CHUNK = 430
-- All chunks are split between this part of the load and the whole of it: a few for each batch, instead of all at once.
local SPLITTING_FROM = 0.75

-- What is to be moved. Whoever makes chunks grow begins with none: what failed before may have left some.
local moves

-- The chunk that gives half of its entries to a new chunk `number`.
local function source_of(number)
  return number - size_of(number + 1) / 2
end

-- How many chunks there are to be, so that none has a mean of more than `a_chunk` entries. They are never joined again.
local function chunks_for(entries, a_chunk, least)
  local size = 1
  while entries > a_chunk * size do size = size * 2 end
  local load = entries / (a_chunk * size)
  local split = math.ceil(size * math.max(0, (load - SPLITTING_FROM) / (1 - SPLITTING_FROM)))
  return math.max(least, size + split)
end

-- Collects values by chunk: a list of groups, each a key and values, and the function that adds to it.
local function groups_by(prefix)
  local groups, by_chunk = {}, {}
  return groups, function(chunk, value)
    local group = by_chunk[chunk]
    if group then
      group[#group + 1] = value
    else
      group = { prefix .. chunk, value }
      by_chunk[chunk] = group
      groups[#groups + 1] = group
    end
  end
end

-- @param prefix   of the keys of chunks; their number follows
-- @param read     command that reads a chunk; step: 2 if its entries have a field and a value, else 1
-- @param hash_of  gives the hash of an entry
local function grow(prefix, from, to, read, step, hash_of)
  local sources = {}
  for number = from, to - 1 do
    local key = touch(prefix .. number)
    if call('EXISTS', key) == 1 then error(key .. ' is in the way of a new chunk') end
    local source = number
    while source >= from do source = source_of(source) end
    sources[source] = prefix .. source
  end
  local size = size_of(to)
  for _, key in pairs(sources) do
    local groups, add = groups_by(prefix)
    local entries = call(read, touch(key))
    for i = 1, #entries, step do
      local chunk = chunk_of(hash_of(entries[i]), to, size)
      for j = i, i + step - 1 do add(chunk, entries[j]) end
    end
    moves[#moves + 1] = { from = key, groups = groups, write = step == 2 and 'HSET' or 'SADD' }
  end
end

local function move_entries()
  for _, move in ipairs(moves) do
    call('DEL', move.from)
    for _, group in ipairs(move.groups) do
      for first = 2, #group, AT_ONCE do
        call(move.write, group[1], unpack(group, first, min(first + AT_ONCE - 1, #group)))
      end
    end
  end
end

-- The members of a post's metric. @return whether their chunks have grown
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
