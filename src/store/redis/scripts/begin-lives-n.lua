#!lua
-- Begins a life of buckets whose epoch or stamps peers would not take for new ones, and says whether it is to be filled from
-- them: the meaning is that of `begin` and `filled` of RegionalStore, and of giveAnew in ship.ts.
--
-- It looks at all registers that not all regions know, in one call: what is told in between would have stamps of both lives. Lives
-- begin rarely, and most find their stamps late enough.
--
-- KEYS[i]  tc:{b}    the bucket's hash; derived from it: logs of words, and registers
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of the epochs that begin
-- ARGV[3]  number of the own region
-- ARGV[4]  the epoch is to be above this one
-- ARGV[5]  stamps are to be above this one
-- ARGV[6]  1: it is to be filled; 0: as it is; -1: it has been filled
-- Returns  number of registers that were given anew
-- include lib-bucket
-- include lib-life
-- include lib-regions
-- include lib-values
-- include lib-words
-- include lib-registers
-- See ship.ts
local WORDS_A_STAMP = 500
nonce_new, region = tonumber(ARGV[2]), tonumber(ARGV[3])
local epoch_known, clock_known, fills = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

-- Words that the lives before have given after the first and up to the second stamp. @return by set and actor
local function given_between(low, high)
  local said = {}
  local function take(set, actor, stamp)
    if stamp <= low or stamp > high or not gave(stamp) then return end
    said[set] = said[set] or {}
    said[set][actor] = math.max(said[set][actor] or 0, stamp)
  end
  for _, key in ipairs({ given_key(), heard_key() }) do
    each_group(call('XRANGE', touch(key), text_of(low + 1), '+'), function(set, stamp, list, from, to)
      for i = from, to do take(set, list[i], stamp) end
    end)
  end
  for _, generation in ipairs(registers.generations(call('HGET', bucket, 'i'))) do
    for chunk = 0, generation.newest > low and generation.chunks - 1 or -1 do registers.each(generation, chunk, take) end
  end
  return said
end

-- Those of them that nobody has a later word than, in the order of their stamps: a list of {stamp, name of the post, metric, actor}
local function given_before()
  local low, words, sets, actors = math.max(born, settled), {}, {}, {}
  local said = given_between(low, clock_known)
  for set, stamps in pairs(said) do
    for actor in pairs(stamps) do sets[#sets + 1], actors[#actors + 1] = set, actor end
  end
  for i, stamp in ipairs(registers.stamps_of(sets, actors, low + 1)) do
    local name, metric = string.match(sets[i], '^(%S+) (%d+)$')
    if said[sets[i]][actors[i]] == stamp then words[#words + 1] = { stamp, name, tonumber(metric), actors[i], sets[i] .. ' ' .. actors[i] } end
  end
  table.sort(words, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a[5] < b[5]
  end)
  return words
end

-- Gives them stamps above all, as if batches had said them. @return entries of the log: stamp, words written up to it, values
local function given_anew(words)
  local entries = {}
  for first = 1, #words, WORDS_A_STAMP do
    local last, by_set, sets, list = min(first + WORDS_A_STAMP - 1, #words), {}, {}, {}
    for i = first, last do
      local word = words[i]
      local set = set_of(word[2], word[3])
      local group = by_set[set]
      if not group then
        group = { word[2], word[3], 0, 0 }
        by_set[set], sets[#sets + 1] = group, set
      end
      group[4] = group[4] + 1
      group[#group + 1] = word[4]
    end
    for _, set in ipairs(sets) do
      for _, value in ipairs(by_set[set]) do list[#list + 1] = value end
    end
    given_written = given_written + last - first + 1
    entries[#entries + 1] = { next_stamp(0), given_written, list }
  end
  return entries
end

local again = 0
for _, key in ipairs(KEYS) do
  bucket, touched = key, {}
  open_bucket()
  local epoch_before, nonce_before = epoch, nonce
  if epoch <= epoch_known then epoch, nonce, new_life = epoch_known + 1, nonce_new, true end
  local entries = {}
  if born < clock_known then
    local words = given_before()
    saw(clock_known)
    born = clock
    entries, again = given_anew(words), again + #words
  end
  if fills > 0 or epoch_before ~= epoch then begin_life(epoch_before, nonce_before) end
  if fills ~= 0 then filling = fills > 0 and 1 or 0 end
  if fills < 0 then found = clock end
  all_here()
  for _, entry in ipairs(entries) do write_words(given_key(), entry[1], entry[2], entry[3], #entry[3]) end
  regional_changed = true
  write_life()
  write_regions()
end
return again
