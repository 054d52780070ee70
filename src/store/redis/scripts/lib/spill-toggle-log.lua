-- Moves words that a log has no room for to the registers of lib/registers.lua.

do
  -- Words a log keeps: as many as FEED_MAX of change-feed.ts.
  local WORDS_MAX = 4096
  -- And entries: what has to look at all of a log takes some milliseconds.
  local ENTRIES_MAX = 2048
  -- Words, or entries, that are moved beyond those that have to be, so that few commits move any.
  local MOVED_MORE, ENTRIES_MORE = 500, 200
  local REGISTERS_A_CHUNK = 96
  -- As many as two bytes number.
  local SETS_MAX = 65536
  -- Of a stamp less another. This many last for a day and a half; the next generation takes more. The most are enough for all stamps.
  local STAMP_BYTES, STAMP_BYTES_MAX = 5, 7

  -- @return the words of the oldest entries that some region does not know, and the last of their ids
  local function oldest_words(key, count)
    local entries = call('XRANGE', key, '-', '+', 'COUNT', count)
    local words = { oldest = math.huge, newest = 0, groups = {}, actors = {}, hashes = {} }
    local actors, hashes, last = words.actors, words.hashes, 0
    each_group(entries, function(set, stamp, list, from, to)
      if stamp <= settled then return end
      words.oldest, words.newest = min(words.oldest, stamp), math.max(words.newest, stamp)
      for i = from, to do
        last = last + 1
        actors[last], hashes[last] = list[i], hash_of_key(list[i])
      end
      words.groups[#words.groups + 1] = { set, stamp, last }
    end)
    return words, entries[#entries][1]
  end

  -- The generation that takes this many sets, and the words: a new one when all have heard of some words of the last.
  local function generation_for(generations, sets, words)
    local last, newest = generations[#generations], words.newest
    local has_room = last and last.sets + sets <= SETS_MAX and words.oldest > last.base and newest - last.base < 256 ^ last.bytes
    if has_room and settled < last.first then
      last.newest = math.max(last.newest, newest)
      return last
    end
    local bytes = last and settled < last.first and min(last.bytes + 1, STAMP_BYTES_MAX) or STAMP_BYTES
    local base = math.max(settled, newest - 256 ^ bytes / 2)
    if words.oldest <= base then base, bytes = settled, STAMP_BYTES_MAX end
    local number = last and last.number + 1 or 1
    local generation = { number = number, base = base, bytes = bytes, first = newest, newest = newest, sets = 0, actors = 0, chunks = 1 }
    generations[#generations + 1] = generation
    return generation
  end

  -- Words by chunk: for each the key of the chunk, and places of words.
  local function by_chunks(generation, words)
    local size, groups, add = size_of(generation.chunks), groups_by(registers.prefix_of(generation))
    for i, hash in ipairs(words.hashes) do add(chunk_of(hash, generation.chunks, size), i) end
    return groups
  end

  -- What stands there of an actor, with one more register; of two of a set the later counts.
  local function with_register(packed, register)
    local of_set, step = string.sub(register, 1, 2), #register
    for i = 1, #packed, step do
      if string.sub(packed, i, i + 1) == of_set then
        if string.sub(packed, i, i + step - 1) >= register then return packed end
        return string.sub(packed, 1, i - 1) .. register .. string.sub(packed, i + step)
      end
    end
    return packed .. register
  end

  -- Of the words' actors, as it is now. @return by actor
  local function read_packed(groups, actors)
    local packed = {}
    for _, group in ipairs(groups) do
      for from = 2, #group, AT_ONCE do
        local to = min(from + AT_ONCE - 1, #group)
        for i = from, to do scratch[i - from + 1] = actors[group[i]] end
        local found = call('HMGET', touch(group[1]), unpack(scratch, 1, to - from + 1))
        for i = from, to do packed[actors[group[i]]] = found[i - from + 1] or nil end
      end
    end
    return packed
  end

  local function add_registers(packed, generation, words, numbers)
    local format, actors, from = registers.format_of(generation), words.actors, 1
    for _, group in ipairs(words.groups) do
      local register = struct.pack(format, numbers[group[1]], group[2] - generation.base)
      for i = from, group[3] do
        local known = packed[actors[i]]
        if known then
          packed[actors[i]] = with_register(known, register)
        else
          packed[actors[i]], generation.actors = register, generation.actors + 1
        end
      end
      from = group[3] + 1
    end
  end

  local function plan_registers(plan, words)
    local sets, known = {}, {}
    for _, group in ipairs(words.groups) do
      if not known[group[1]] then sets[#sets + 1], known[group[1]] = group[1], true end
    end
    plan.generations = registers.generations(call('HGET', bucket, 'i'))
    local generation = generation_for(plan.generations, #sets, words)
    plan.generation, plan.words, plan.sets_new, plan.numbers = generation, words, {}, registers.numbers_of(generation, sets)
    for _, set in ipairs(sets) do
      if not plan.numbers[set] then
        plan.numbers[set], generation.sets = generation.sets, generation.sets + 1
        plan.sets_new[#plan.sets_new + 1] = set
      end
    end
    plan.groups = by_chunks(generation, words)
    plan.packed = read_packed(plan.groups, words.actors)
    add_registers(plan.packed, generation, words, plan.numbers)
    local chunks = chunks_for(generation.actors, REGISTERS_A_CHUNK, generation.chunks)
    if chunks == generation.chunks then return end
    grow(registers.prefix_of(generation), generation.chunks, chunks, 'HGETALL', 2, hash_of_key)
    generation.chunks = chunks
    plan.groups = by_chunks(generation, words)
  end

  -- Reads what is to be moved out of a log that has, or will have, too many words; nil: nothing is.
  -- @param kept, more  how many it has, and will have more
  function registers.plan_move(key, kept, more)
    local entries, excess, count = call('XLEN', touch(key)), kept + more - WORDS_MAX, 0
    if excess > 0 and entries > 0 then
      count = math.ceil((excess + MOVED_MORE) * entries / kept)
    elseif entries > ENTRIES_MAX then
      count = entries - ENTRIES_MAX + ENTRIES_MORE
    end
    if count == 0 then return nil end
    unpack_state()
    local words, id = oldest_words(key, count)
    local plan = { key = key }
    plan.stamp, plan.removed = id_of(id)
    if words.newest > 0 then plan_registers(plan, words) end
    return plan
  end

  local function write_sets(plan, prefix)
    for from = 1, #plan.sets_new, AT_ONCE do
      local to, list = min(from + AT_ONCE - 1, #plan.sets_new), {}
      for i = from, to do list[#list + 1], list[#list + 2] = plan.sets_new[i], plan.numbers[plan.sets_new[i]] end
      call('HSET', prefix .. 's', unpack(list))
      call('RPUSH', prefix .. 'l', unpack(plan.sets_new, from, to))
    end
  end

  -- Writes what was planned; what has grown is written already.
  function registers.move(plan)
    call('XTRIM', plan.key, 'MINID', text_of(plan.stamp) .. '-' .. text_of(plan.removed + 1))
    if not plan.generation then return end
    local actors = plan.words.actors
    write_sets(plan, registers.prefix_of(plan.generation))
    for _, group in ipairs(plan.groups) do
      for from = 2, #group, AT_ONCE do
        local last = 0
        for i = from, min(from + AT_ONCE - 1, #group) do
          local actor = actors[group[i]]
          scratch[last + 1], scratch[last + 2] = actor, plan.packed[actor]
          last = last + 2
        end
        call('HSET', group[1], unpack(scratch, 1, last))
      end
    end
    registers.write(plan.generations)
  end
end
