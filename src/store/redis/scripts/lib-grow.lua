-- Chunks that grow in number: entries of those that are split are read first, and written with the script's other writes.

local moves = {}

-- @param key_of   gives the key of a chunk by its number
-- @param read     command that reads a chunk; step: 2 if its entries have a field and a value, else 1
-- @param hash_of  gives the hash of an entry
local function grow(key_of, from, to, read, step, hash_of)
  if to == from then return end
  local sources, targets = {}, {}
  for number = from, to - 1 do
    targets[#targets + 1] = key_of(number)
    local source = number
    while source >= from do source = source_of(source) end
    sources[source] = key_of(source)
  end
  all_here(targets)
  for _, key in ipairs(targets) do
    if call('EXISTS', key) == 1 then error(key .. ' is in the way of a new chunk') end
  end
  for _, key in pairs(sources) do
    all_here({ key })
    local _, values, add = groups()
    local entries, chunk_of = call(read, key), chunks_of(to)
    for i = 1, #entries, step do
      local target = key_of(chunk_of(hash_of(entries[i])))
      for j = i, i + step - 1 do add(target, entries[j]) end
    end
    moves[#moves + 1] = { from = key, groups = values, write = step == 2 and 'HSET' or 'SADD' }
  end
end

local function write(command, key, values)
  for first = 1, #values, 1000 do
    call(command, key, unpack(values, first, math.min(first + 999, #values)))
  end
end

local function move_entries()
  for _, move in ipairs(moves) do
    call('DEL', move.from)
    for key, values in pairs(move.groups) do write(move.write, key, values) end
  end
end
