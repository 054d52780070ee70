-- scripts/lib/session-seqs.lua: high-water marks of the sessions that the current batch names: the last seq of each, by which an
-- operation is found to be a duplicate. Marks are kept by generations: written to the current one, and read from the previous one, too.
-- @needs bucket keys linear-hashing chunk-growth msgpack current-batch
-- @constants MARK_GENERATION_MS MARK_GENERATION_MAX FIELD_OLD_MARKS
local call, unpack = redis.call, unpack
local args = msgpack.args

-- The values of the current batch, and where they have sessions and marks.
local values, sessions_at, marks_at
-- By session: the seq that was read, and the one of the current generation, nil if it has none.
local read_seqs, current_seqs = {}, {}
-- The chunks of the sessions, and the last session in each.
local group_keys, group_ends, group_count = {}, {}, 0

-- Begins a generation if the current one is old or full. Marks of the one before the previous are no longer read; a sweep finds their
-- chunks by their number.
-- @return whether one begins; field and value of that number, if there are any chunks
local function begin_generation(at_ms)
  local is_current = at_ms < bucket.generation_started_ms + MARK_GENERATION_MS and bucket.mark_count < MARK_GENERATION_MAX
  if is_current then return false end
  local field, old_chunks = FIELD_OLD_MARKS .. (bucket.mark_generation - 1), bucket.previous_mark_chunks
  bucket.previous_mark_chunks = bucket.mark_count > 0 and bucket.mark_chunks or 0
  bucket.mark_generation, bucket.generation_started_ms = bucket.mark_generation + 1, at_ms
  bucket.mark_count, bucket.mark_chunks = 0, 1
  if old_chunks > 0 then return true, field, old_chunks end
  return true
end

local function read_chunk(key, from, to)
  group_count = group_count + 1
  group_keys[group_count], group_ends[group_count] = key, to
  if from == to then
    local seq = call('HGET', key, values[sessions_at + from])
    seq = seq and tonumber(seq)
    current_seqs[from] = seq
    if seq then values[marks_at + from], read_seqs[from] = seq, seq end
    return
  end
  local seqs = call('HMGET', key, unpack(values, sessions_at + from, sessions_at + to))
  for i = from, to do
    local seq = seqs[i - from + 1] and tonumber(seqs[i - from + 1])
    current_seqs[i] = seq
    if seq then values[marks_at + i], read_seqs[i] = seq, seq end
  end
end

-- Reads the marks of `count` sessions from the previous generation.
-- @param missing  the sessions' keys, then their hashes
-- @param indices  their indices in the batch
local function read_previous(missing, indices, count)
  local prefix = keys.marks_prefix(bucket.mark_generation - 1)
  linear_hashing.each_chunk(missing, count, count, bucket.previous_mark_chunks, prefix, function(key, from, to)
    local seqs = call('HMGET', key, unpack(missing, from, to))
    for i = from, to do
      local seq = seqs[i - from + 1]
      if seq then
        seq = tonumber(seq)
        values[marks_at + indices[i]], read_seqs[indices[i]] = seq, seq
      end
    end
  end)
end

local function read()
  group_count = 0
  local sessions_count = current_batch.sessions_count
  if sessions_count == 0 then return end
  values, sessions_at, marks_at = current_batch.values, current_batch.sessions_at, current_batch.marks_at
  linear_hashing.each_chunk(values, marks_at, sessions_count, bucket.mark_chunks, keys.marks_prefix(bucket.mark_generation), read_chunk)
  local missing, indices, count = {}, {}, 0
  for i = 1, sessions_count do
    if not current_seqs[i] then
      count = count + 1
      indices[count] = i
    end
  end
  if count == 0 then return end
  for i = 1, count do missing[i] = values[sessions_at + indices[i]] end
  for i = 1, count do
    local mark = marks_at + indices[i]
    missing[count + i], values[mark], read_seqs[indices[i]] = values[mark], 0, 0
  end
  if bucket.previous_mark_chunks > 0 then read_previous(missing, indices, count) end
end

-- @return how many marks are added to the current generation
local function count_new()
  local count = 0
  for i = 1, current_batch.sessions_count do
    if not current_seqs[i] and values[marks_at + i] ~= read_seqs[i] then count = count + 1 end
  end
  return count
end

local function grow(new_count)
  bucket.mark_count = bucket.mark_count + new_count
  local needed = chunk_growth.chunks_needed(bucket.mark_count, chunk_growth.HASH_LOAD_MAX, bucket.mark_chunks)
  if needed == bucket.mark_chunks then return end
  local prefix, size = keys.marks_prefix(bucket.mark_generation), linear_hashing.size_for(needed)
  chunk_growth.plan(prefix, bucket.mark_chunks, needed, 'HGETALL', 2, linear_hashing.hash_key)
  for i = 1, current_batch.sessions_count do
    group_keys[i] = prefix .. linear_hashing.chunk_for(linear_hashing.hash_key(values[sessions_at + i]), needed, size)
    group_ends[i] = i
  end
  group_count, bucket.mark_chunks = current_batch.sessions_count, needed
end

local function write()
  local from = 1
  for group = 1, group_count do
    local key, last, to = group_keys[group], 1, group_ends[group]
    if from == to then
      local seq = values[marks_at + from]
      if seq ~= read_seqs[from] then call('HSET', key, values[sessions_at + from], seq) end
    else
      args[1] = key
      for i = from, to do
        local seq = values[marks_at + i]
        if seq ~= read_seqs[i] then
          args[last + 1], args[last + 2] = values[sessions_at + i], seq
          last = last + 2
        end
      end
      if last > 1 then call('HSET', unpack(args, 1, last)) end
    end
    from = to + 1
  end
end

return { begin_generation = begin_generation, read = read, count_new = count_new, grow = grow, write = write }
