-- scripts/lib/marks.lua: high-water marks of keys that the current batch names: of a session its last seq, of the visits of an actor to a
-- post when one was counted last. They are kept by generations: written to the current one, and read from the previous one, too.
-- @needs bucket linear-hashing chunk-growth msgpack current-batch
local call, unpack = redis.call, unpack
local args = msgpack.args

-- @param generation  of the bucket that is being processed: its number, `started_ms`, `count` of marks, `chunks`; of the one before
--   `previous_chunks` and `previous_count`
-- @param key_name    of the keys of chunks; the numbers of the generation and of the chunk follow
local function open(generation, key_name)
  -- The values of the current batch, and where they have keys and, after `read`, their marks. Before it these are hashes of the keys.
  local values, keys_at, marks_at, key_count
  -- By key: the mark that was read, and the one of the current generation, nil if it has none.
  local read_marks, current_marks = {}, {}
  -- The chunks of the keys, and the last key in each.
  local group_keys, group_ends, group_count = {}, {}, 0

  local function prefix_for(number)
    return bucket.key .. key_name .. number .. ':'
  end

  -- Begins a generation if the current one is old or full. Marks of the one before the previous are no longer read; a sweep finds their
  -- chunks by their number.
  -- @return whether one begins; the number of that generation and of its chunks, if there are any
  local function begin_generation(at_ms, length_ms, count_max)
    if at_ms < generation.started_ms + length_ms and generation.count < count_max then return false end
    local old, old_chunks = generation.number - 1, generation.previous_chunks
    generation.previous_chunks, generation.previous_count = generation.count > 0 and generation.chunks or 0, generation.count
    generation.number, generation.started_ms = generation.number + 1, at_ms
    generation.count, generation.chunks = 0, 1
    if old_chunks > 0 then return true, old, old_chunks end
    return true
  end

  local function read_chunk(key, from, to)
    group_count = group_count + 1
    group_keys[group_count], group_ends[group_count] = key, to
    if from == to then
      local mark = call('HGET', key, values[keys_at + from])
      mark = mark and tonumber(mark)
      current_marks[from] = mark
      if mark then values[marks_at + from], read_marks[from] = mark, mark end
      return
    end
    local marks = call('HMGET', key, unpack(values, keys_at + from, keys_at + to))
    for i = from, to do
      local mark = marks[i - from + 1] and tonumber(marks[i - from + 1])
      current_marks[i] = mark
      if mark then values[marks_at + i], read_marks[i] = mark, mark end
    end
  end

  -- Reads marks from the previous generation.
  -- @param missing  `count` keys, then their hashes
  -- @param indices  their indices in the batch
  local function read_previous(missing, indices, count)
    local prefix = prefix_for(generation.number - 1)
    linear_hashing.each_chunk(missing, count, count, generation.previous_chunks, prefix, function(key, from, to)
      local marks = call('HMGET', key, unpack(missing, from, to))
      for i = from, to do
        local mark = marks[i - from + 1]
        if mark then
          mark = tonumber(mark)
          values[marks_at + indices[i]], read_marks[indices[i]] = mark, mark
        end
      end
    end)
  end

  -- @param first  after which value the batch has `count` keys and then their hashes
  local function read(first, count)
    values, keys_at, marks_at, key_count, group_count = current_batch.values, first, first + count, count, 0
    linear_hashing.each_chunk(values, marks_at, count, generation.chunks, prefix_for(generation.number), read_chunk)
    local missing, indices, missing_count = {}, {}, 0
    for i = 1, count do
      if not current_marks[i] then
        missing_count = missing_count + 1
        indices[missing_count] = i
      end
    end
    if missing_count == 0 then return end
    for i = 1, missing_count do missing[i] = values[keys_at + indices[i]] end
    for i = 1, missing_count do
      local mark = marks_at + indices[i]
      missing[missing_count + i], values[mark], read_marks[indices[i]] = values[mark], 0, 0
    end
    if generation.previous_chunks > 0 then read_previous(missing, indices, missing_count) end
  end

  -- @return how many marks are added to the current generation
  local function count_new()
    local count = 0
    for i = 1, key_count do
      if not current_marks[i] and values[marks_at + i] ~= read_marks[i] then count = count + 1 end
    end
    return count
  end

  local function grow(new_count)
    generation.count = generation.count + new_count
    local needed = chunk_growth.chunks_needed(generation.count, chunk_growth.HASH_LOAD_MAX, generation.chunks)
    if needed == generation.chunks then return end
    local prefix, size = prefix_for(generation.number), linear_hashing.size_for(needed)
    chunk_growth.plan(prefix, generation.chunks, needed, 'HGETALL', 2, linear_hashing.hash_key)
    for i = 1, key_count do
      group_keys[i] = prefix .. linear_hashing.chunk_for(linear_hashing.hash_key(values[keys_at + i]), needed, size)
      group_ends[i] = i
    end
    group_count, generation.chunks = key_count, needed
  end

  local function write()
    local from = 1
    for group = 1, group_count do
      local key, last, to = group_keys[group], 1, group_ends[group]
      if from == to then
        local mark = values[marks_at + from]
        if mark ~= read_marks[from] then call('HSET', key, values[keys_at + from], mark) end
      else
        args[1] = key
        for i = from, to do
          local mark = values[marks_at + i]
          if mark ~= read_marks[i] then
            args[last + 1], args[last + 2] = values[keys_at + i], mark
            last = last + 2
          end
        end
        if last > 1 then call('HSET', unpack(args, 1, last)) end
      end
      from = to + 1
    end
  end

  return { begin_generation = begin_generation, read = read, count_new = count_new, grow = grow, write = write }
end

return { open = open }
