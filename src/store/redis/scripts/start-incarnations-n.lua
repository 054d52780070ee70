#!lua
-- Begins a life of buckets whose epoch or stamps peers would not take for new ones, and says whether it is to be filled from
-- them: the meaning is that of `begin` and `filled` of ReplicatedStore, and of giveAnew and comeBack in build-delta.ts.
--
-- It looks at all registers that not all regions know, in one call: what is told in between would have stamps of both lives. Lives
-- begin rarely, and most find their stamps late enough.
--
-- KEYS[i]  tc:{b}    the bucket's hash; derived from it: logs of words, and registers
-- ARGV[1]  run id of the server
-- ARGV[2]  for a life that begins: its nonce, a blank, and the wall time (ms since 1970)
-- ARGV[3]  number of the own region
-- ARGV[4]  the epoch is to be above this one
-- ARGV[5]  stamps are to be above this one
-- ARGV[6]  1: it is to be filled; 0: as it is; -1: it has been filled
-- ARGV[7]  1: its clock had run ahead, and goes back to that stamp; else 0
-- Returns  number of registers that were given again
-- include post-record
-- include incarnation
-- include replication-state
-- include msgpack
-- include toggle-log
-- include registers
-- See build-delta.ts
local WORDS_A_STAMP = 500
region = tonumber(ARGV[3])
local epoch_known, clock_known, fills, comes_back = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1'

-- The last of the words with stamps above `low` that `is_asked(stamp)`. @return by set and actor
local function words_above(low, is_asked)
  local said = {}
  local function take(set, actor, stamp)
    if stamp <= low or not is_asked(stamp) then return end
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

-- A word as it is sorted: {stamp, name of the post, metric, actor, name of the toggle}
local function word_of(stamp, set, actor)
  local name, metric = string.match(set, '^(%S+) (%d+)$')
  return { stamp, name, tonumber(metric), actor, set .. ' ' .. actor }
end

local function sort_words(words)
  table.sort(words, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a[5] < b[5]
  end)
  return words
end

-- Words that the lives before have given up to `clock_known`, and that nobody has a later word than, in the order of their stamps
local function given_before()
  local low, words, sets, actors = math.max(born, settled), {}, {}, {}
  local said = words_above(low, function(stamp) return stamp <= clock_known and gave(stamp) end)
  for set, stamps in pairs(said) do
    for actor in pairs(stamps) do sets[#sets + 1], actors[#actors + 1] = set, actor end
  end
  for i, stamp in ipairs(registers.stamps_of(sets, actors, low + 1)) do
    if said[sets[i]][actors[i]] == stamp then words[#words + 1] = word_of(stamp, sets[i], actors[i]) end
  end
  return sort_words(words)
end

-- All words that not all regions know: those up to `clock_known`, and those after it, which are to be given again.
local function all_words()
  local kept, ahead = {}, {}
  for set, stamps in pairs(words_above(settled, function() return true end)) do
    for actor, stamp in pairs(stamps) do
      local list = stamp > clock_known and ahead or kept
      list[#list + 1] = word_of(stamp, set, actor)
    end
  end
  return sort_words(kept), sort_words(ahead)
end

-- Gives words stamps above all, as if batches had said them. @return entries of the log: stamp, words written up to it, values
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

-- Keys of all that has stamps, but posts and members.
local function stamped_keys()
  local keys = { touch(given_key()), touch(heard_key()), touch(news_key()) }
  for _, generation in ipairs(registers.generations(call('HGET', bucket, 'i'))) do
    local prefix = registers.prefix_of(generation)
    for chunk = 0, generation.chunks - 1 do keys[#keys + 1] = touch(prefix .. chunk) end
    keys[#keys + 1], keys[#keys + 2] = touch(prefix .. 's'), touch(prefix .. 'l')
  end
  return keys
end

-- The clock goes back: see Regional.comeBack. A log takes no entry before its last, so both are written again.
-- @return keys that are to go, words to be kept as they are, and entries of those that were given again
local function come_back()
  local kept, ahead = all_words()
  found = math.max(found, clock)
  clock, born, dropped = clock_known, clock_known, clock_known
  sure, confirmed, settled = min(sure, clock), min(confirmed, clock), min(settled, clock)
  given_removed, heard_removed, words_changed = given_written, heard_written, true
  return stamped_keys(), kept, given_anew(ahead), #ahead
end

local function write_kept(words)
  for first = 1, #words, WORDS_A_STAMP do
    local list, last = {}, min(first + WORDS_A_STAMP - 1, #words)
    for i = first, last do
      for _, value in ipairs({ words[i][2], words[i][3], words[i][1], 1, words[i][4] }) do list[#list + 1] = value end
    end
    heard_written = heard_written + last - first + 1
    write_words(heard_key(), clock_known, heard_written, list, #list)
  end
end

local again = 0
for _, key in ipairs(KEYS) do
  bucket, touched = key, {}
  open_bucket()
  local epoch_before, nonce_before = epoch, nonce
  if epoch <= epoch_known then epoch, nonce, new_life = epoch_known + 1, (given_to_new_life()), true end
  local entries, old, kept, given = {}, {}, {}, 0
  if comes_back then
    if clock > clock_known then old, kept, entries, given = come_back() end
  elseif born < clock_known then
    local words = given_before()
    saw(clock_known)
    born = clock
    entries, given = given_anew(words), #words
  end
  again = again + given
  if fills > 0 or epoch_before ~= epoch then begin_life(epoch_before, nonce_before) end
  if fills ~= 0 then filling = fills > 0 and 1 or 0 end
  if fills < 0 then found = clock end
  all_here()
  for first = 1, #old, AT_ONCE do call('UNLINK', unpack(old, first, min(first + AT_ONCE - 1, #old))) end
  if #old > 0 then call('HDEL', bucket, 'i') end
  write_kept(kept)
  for _, entry in ipairs(entries) do write_words(given_key(), entry[1], entry[2], entry[3], #entry[3]) end
  regional_changed = true
  write_life()
  write_regions()
end
return again
