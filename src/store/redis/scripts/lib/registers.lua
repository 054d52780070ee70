-- The last words on toggles: in the logs of lib/toggle-log.lua, and those that the logs have no room for packed in generations. While
-- a region is away these are most. A generation has chunks (lib/chunk-growth.lua) of actors: actor → for each toggle of which it has a
-- register two bytes for the toggle's set, and the stamp less one that is before all of the generation's. It numbers the sets that it
-- knows. When all regions have heard of its words it is removed as a whole.

local registers = {}
do
  local SET_BYTES = 2

  -- Of a register in this generation
  function registers.format_of(generation)
    return '>I' .. SET_BYTES .. 'I' .. generation.bytes, SET_BYTES + generation.bytes
  end

  function registers.prefix_of(generation)
    return bucket .. ':r' .. generation.number .. ':'
  end

  -- All generations, the oldest first. @param packed  field i of the bucket's hash. `base` is what stamps are less, and `bytes` what they take;
  -- `first` and `newest` the last stamp that was moved to it at first, and by now; how many sets, actors, and chunks of these it has.
  function registers.generations(packed)
    local generations = {}
    local list = packed and { cmsgpack.unpack(packed) } or {}
    for i = 1, #list, 8 do
      generations[#generations + 1] = {
        number = list[i], base = list[i + 1], bytes = list[i + 2], first = list[i + 3], newest = list[i + 4],
        sets = list[i + 5], actors = list[i + 6], chunks = list[i + 7],
      }
    end
    return generations
  end

  function registers.write(generations)
    if #generations == 0 then
      call('HDEL', bucket, 'i')
      return
    end
    local list, last = {}, 0
    for _, of in ipairs(generations) do
      list[last + 1], list[last + 2], list[last + 3], list[last + 4] = of.number, of.base, of.bytes, of.first
      list[last + 5], list[last + 6], list[last + 7], list[last + 8] = of.newest, of.sets, of.actors, of.chunks
      last = last + 8
    end
    call('HSET', bucket, 'i', pack(unpack(list)))
  end

  local function read_fields(key, fields)
    local values_read = {}
    for from = 1, #fields, AT_ONCE do
      local some = call('HMGET', touch(key), unpack(fields, from, min(from + AT_ONCE - 1, #fields)))
      for i = 1, #some do values_read[from + i - 1] = some[i] end
    end
    return values_read
  end

  -- @return by set: its number in the generation; those that have none are left out
  function registers.numbers_of(generation, sets)
    local numbers = {}
    for i, number in ipairs(read_fields(registers.prefix_of(generation) .. 's', sets)) do
      if number then numbers[sets[i]] = tonumber(number) end
    end
    return numbers
  end

  -- @param by_actor  its keys are actors. @return by actor: what stands there, for those of whom something does
  function registers.read(generation, by_actor)
    local prefix, size, groups, found = registers.prefix_of(generation), size_of(generation.chunks), {}, {}
    for actor in pairs(by_actor) do
      local chunk = chunk_of(hash_of_key(actor), generation.chunks, size)
      local group = groups[chunk]
      if group then group[#group + 1] = actor else groups[chunk] = { actor } end
    end
    for chunk, actors in pairs(groups) do
      for i, packed in ipairs(read_fields(prefix .. chunk, actors)) do found[actors[i]] = packed or nil end
    end
    return found
  end

  -- Calls `take(set, actor, stamp)` for each register in a chunk.
  function registers.each(generation, chunk, take)
    local prefix, sets, format, step = registers.prefix_of(generation), {}, registers.format_of(generation)
    local list = call('HGETALL', touch(prefix .. chunk))
    for i = 1, #list, 2 do
      for at = 1, #list[i + 1], step do
        local number, stamp = struct.unpack(format, list[i + 1], at)
        sets[number] = sets[number] or call('LINDEX', touch(prefix .. 'l'), number)
        take(sets[number], list[i], generation.base + stamp)
      end
    end
  end

  -- Raises stamps of wanted[set][actor] to those that stand in a generation.
  local function raise(wanted, generation)
    local sets, by_actor, format, step = {}, {}, registers.format_of(generation)
    for set in pairs(wanted) do sets[#sets + 1] = set end
    for set, number in pairs(registers.numbers_of(generation, sets)) do
      for actor in pairs(wanted[set]) do
        local asked_of = by_actor[actor] or {}
        by_actor[actor], asked_of[number] = asked_of, set
      end
    end
    for actor, packed in pairs(registers.read(generation, by_actor)) do
      for i = 1, #packed, step do
        local number, stamp = struct.unpack(format, packed, i)
        local set = by_actor[actor][number]
        if set then wanted[set][actor] = math.max(wanted[set][actor], generation.base + stamp) end
      end
    end
  end

  -- Stamps of the last words on some toggles, 0: none is known. A last word before the stamp `least` may be taken for none, or for
  -- an earlier one. @param logs  keys of those that may have words of theirs; nil: both
  function registers.stamps_of(sets, actors, least, logs)
    local wanted, stamps = {}, {}
    if #sets == 0 then return stamps end
    for i, set in ipairs(sets) do
      wanted[set] = wanted[set] or {}
      wanted[set][actors[i]] = 0
    end
    for _, key in ipairs(logs or { given_key(), heard_key() }) do
      each_group(call('XRANGE', touch(key), text_of(least), '+'), function(set, stamp, list, from, to)
        local of = wanted[set]
        if not of then return end
        for i = from, to do
          local known_stamp = of[list[i]]
          if known_stamp and known_stamp < stamp then of[list[i]] = stamp end
        end
      end)
    end
    for _, generation in ipairs(registers.generations(call('HGET', bucket, 'i'))) do
      if generation.newest >= least then raise(wanted, generation) end
    end
    for i, set in ipairs(sets) do stamps[i] = wanted[set][actors[i]] end
    return stamps
  end
end
