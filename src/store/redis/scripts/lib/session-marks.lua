-- Marks of the sessions that the current batch names: the last seq of each, by which it is seen that an operation was done
-- before. They are kept by generations: written to the present one, and looked for in the one before, too.

local GENERATION_MS, GENERATION_MARKS = 3600000, 65536

-- The present generation, its start (ms), marks in it, their chunks, and chunks of the generation before
local generation, started, marks_now, mark_chunks, mark_chunks_before
-- In `values` hashes of sessions give way to their last seqs. By place: what was read, and what of it in this generation
local seq_read, here = {}, {}
-- The chunks in which they are, and the last place in each
local mark_keys, mark_ends, mark_groups = {}, {}, 0

-- Begins a generation if the present one is old or full. Marks of the one before it are no longer looked at: a sweep finds
-- them by their number of chunks.
-- @return whether one begins; that number's field and value, if there are any
local function begin_generation(at)
  if at < started + GENERATION_MS and marks_now < GENERATION_MARKS then return false end
  local field, chunks = 'k' .. (generation - 1), mark_chunks_before
  generation, started, mark_chunks_before = generation + 1, at, marks_now > 0 and mark_chunks or 0
  marks_now, mark_chunks = 0, 1
  if chunks > 0 then return true, field, chunks end
  return true
end

local function read_marks_of(key, from, to)
  mark_groups = mark_groups + 1
  mark_keys[mark_groups], mark_ends[mark_groups] = key, to
  if from == to then
    local seq = call('HGET', key, values[sessions + from])
    seq = seq and tonumber(seq)
    here[from] = seq
    if seq then values[marks + from], seq_read[from] = seq, seq end
    return
  end
  local seqs = call('HMGET', key, unpack(values, sessions + from, sessions + to))
  for i = from, to do
    local seq = seqs[i - from + 1] and tonumber(seqs[i - from + 1])
    here[i] = seq
    if seq then values[marks + i], seq_read[i] = seq, seq end
  end
end

local function read_marks()
  mark_groups = 0
  if sessions_count == 0 then return end
  by_chunk(values, marks, sessions_count, mark_chunks, marks_prefix(generation), read_marks_of)
  -- Those that have no mark in this generation may have one in the one before.
  local missing, places, count = {}, {}, 0
  for i = 1, sessions_count do
    if not here[i] then
      count = count + 1
      places[count] = i
    end
  end
  if count == 0 then return end
  for i = 1, count do missing[i] = values[sessions + places[i]] end
  for i = 1, count do
    local mark = marks + places[i]
    missing[count + i], values[mark], seq_read[places[i]] = values[mark], 0, 0
  end
  if mark_chunks_before == 0 then return end
  by_chunk(missing, count, count, mark_chunks_before, marks_prefix(generation - 1), function(key, from, to)
    local seqs = call('HMGET', key, unpack(missing, from, to))
    for i = from, to do
      local seq = seqs[i - from + 1]
      if seq then
        seq = tonumber(seq)
        values[marks + places[i]], seq_read[places[i]] = seq, seq
      end
    end
  end)
end

local function count_new_marks()
  local found = 0
  for i = 1, sessions_count do
    if not here[i] and values[marks + i] ~= seq_read[i] then found = found + 1 end
  end
  return found
end

local function grow_marks(marks_new)
  marks_now = marks_now + marks_new
  local chunks = chunks_for(marks_now, MARKS_A_CHUNK, mark_chunks)
  if chunks == mark_chunks then return end
  local prefix, size = marks_prefix(generation), size_of(chunks)
  grow(prefix, mark_chunks, chunks, 'HGETALL', 2, hash_of_key)
  for i = 1, sessions_count do
    mark_keys[i], mark_ends[i] = prefix .. chunk_of(hash_of_key(values[sessions + i]), chunks, size), i
  end
  mark_groups, mark_chunks = sessions_count, chunks
end

local function write_marks()
  local from = 1
  for group = 1, mark_groups do
    local key, last, to = mark_keys[group], 1, mark_ends[group]
    if from == to then
      local seq = values[marks + from]
      if seq ~= seq_read[from] then call('HSET', key, values[sessions + from], seq) end
    else
      scratch[1] = key
      for i = from, to do
        local seq = values[marks + i]
        if seq ~= seq_read[i] then
          scratch[last + 1], scratch[last + 2] = values[sessions + i], seq
          last = last + 2
        end
      end
      if last > 1 then call('HSET', unpack(scratch, 1, last)) end
    end
    from = to + 1
  end
end
