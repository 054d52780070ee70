#!lua flags=allow-oom
-- What was changed here after a stamp, newest state only: the meaning is that of `settle` in replication-state.ts, and of changesAfter in
-- build-delta.ts. Registers and marks that nobody needs any more are removed, a bounded number at a time.
--
-- KEYS[i]  tc:{b}    the bucket's hash; derived from it: chunks of posts and members, marks, registers
-- ARGV[1]  run id of the server
-- ARGV[2]  for a life that begins: its nonce, a blank, and the wall time (ms since 1970)
-- ARGV[3]  number of the own region
-- ARGV[4]  1 if slots may move (a cluster), else 0
-- ARGV[5]  names of all other regions, as a JSON array
-- ARGV[6]  about how many marks of a bucket
-- ARGV[7]  about how many marks of all; what comes after them is not looked at
-- ARGV[7 + i]  of bucket i msgpack values: how many come after this; the stamp, and the one up to which all have confirmed
-- Returns  for each bucket a string: nothing, if it was not looked at; "-" and what was wrong; or msgpack values one after the other:
--          0: it is not known any more; or 1, epoch, nonce, born, confirmed, floor, stamp up to which this is all; how many
--           lives it goes on from, epoch and nonce of each; number of posts, for each: its name, 1 if its counts have changed else 0, its record; number of toggles, for each: place of its
--           post from 0, metric, the actor's key in decimal, stamp, 1 if it is on else 0
-- include post-record
-- include incarnation
-- include replication-state
-- include version-vector
-- include msgpack
-- include toggle-log
-- include registers
-- include toggles
local FORGOTTEN, CHANGES = 0, 1
local CHUNKS_A_TURN = 100
region, slots_move = tonumber(ARGV[3]), ARGV[4] == '1'
local peers, limit, budget = cjson.decode(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

local post_chunks, places, records

local function settle(told, known)
  local all = told_at == 0
  if all then
    for _, peer in ipairs(peers) do
      all = all and string.find(',' .. told_by .. ',', ',' .. peer .. ',', 1, true) ~= nil
    end
  end
  local before = { told_at, confirmed, settled, dropped }
  dropped = math.max(dropped, told)
  if all then told_at = clock end
  local whole = told_at > 0 and told >= told_at
  confirmed = math.max(confirmed, whole and told or min(told, sure))
  local heard = confirmed
  for _, peer in ipairs(peers) do
    local of = known_of(known, peer)
    -- What a peer knows to be confirmed may have been lost here since.
    heard = min(heard, of.confirmed, of.up_to)
  end
  settled = math.max(settled, heard)
  for i, now in ipairs({ told_at, confirmed, settled, dropped }) do regional_changed = regional_changed or now ~= before[i] end
end

-- What was said here after a stamp, each toggle once, at its last word: a list of {stamp, set, actor}
local function words_after(stamp)
  local words, said = {}, {}
  each_group(call('XRANGE', given_key(), text_of(stamp + 1), '+'), function(set, of, list, from, to)
    local stamps = said[set] or {}
    said[set] = stamps
    for i = from, to do
      stamps[list[i]] = of
      words[#words + 1] = { of, set, list[i] }
    end
  end)
  local latest = {}
  for _, word in ipairs(words) do
    if said[word[2]][word[3]] == word[1] then latest[#latest + 1] = word end
  end
  return latest
end

-- Marks after a stamp, and words: all of a stamp or none. @return also the stamp of the last, nil if there are no more after them
local function marks_after(stamp)
  local low = '(' .. text_of(stamp)
  local news = call('ZRANGEBYSCORE', news_key(), low, '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
  local words = given_written > given_removed and words_after(stamp) or {}
  local i, j, last = 2, 1, nil
  if #news / 2 + #words < limit then return call('ZRANGEBYSCORE', news_key(), low, '+inf'), words end
  for _ = 1, limit do
    local a, b = tonumber(news[i]) or math.huge, words[j] and words[j][1] or math.huge
    if a <= b then last, i = a, i + 2 else last, j = b, j + 1 end
  end
  while words[j] and words[j][1] == last do j = j + 1 end
  local has_more = words[j] or call('ZCOUNT', news_key(), '(' .. text_of(last), '+inf') > 0
  for more = #words, j, -1 do words[more] = nil end
  return call('ZRANGEBYSCORE', news_key(), low, text_of(last)), words, has_more and last or nil
end

-- The post's place, from 0. It becomes one of the current ones.
local function place_of(name)
  local place = places[name]
  if place then return place end
  place = #records
  local key = touch(posts_prefix() .. chunk_of(hash_of_post(name), post_chunks, size_of(post_chunks)))
  local record = call('HGET', key, name)
  places[name], names[place + 1], records[place + 1], posts[place + 1] = place, name, record or '', decode(record)
  return place
end

-- Words that are to be told, if not all know them.
-- @param retold  marks of toggles that are to be told again, whatever their stamp is
-- @return sets, actors, and stamps
local function last_words(words, retold)
  local sets, actors, stamps = {}, {}, {}
  for i, word in ipairs(words) do stamps[i], sets[i], actors[i] = word[1], word[2], word[3] end
  for _, mark in ipairs(retold) do sets[#sets + 1], actors[#actors + 1] = string.match(mark, '^(.+) (%S+)$') end
  local logs, least = nil, settled + 1
  if #retold == 0 then
    logs, least = heard_written > heard_removed and { heard_key() } or {}, math.max(least, stamps[1] or 0)
  end
  for i, stamp in ipairs(registers.stamps_of(sets, actors, least, logs)) do stamps[i] = math.max(stamps[i] or 0, stamp) end
  return sets, actors, stamps
end

-- Whether toggles are on, by the key of the chunk in which their actor is: those of a chunk by one command.
local function read_states(members)
  local states = {}
  for key, actors in pairs(members) do
    states[key] = {}
    for first = 1, #actors, AT_ONCE do
      local last = min(first + AT_ONCE - 1, #actors)
      local are = call('SMISMEMBER', touch(key), unpack(actors, first, last))
      for i = first, last do states[key][actors[i]] = are[i - first + 1] end
    end
  end
  return states
end

local function toggled_of(words, retold)
  local list, last, seen, keys, members = {}, 0, {}, {}, {}
  local sets, actors, stamps = last_words(words, retold)
  for i, stamp in ipairs(stamps) do
    local set, actor = sets[i], actors[i]
    local mark = #retold > 0 and set .. ' ' .. actor
    if stamp > settled and not seen[mark] then
      if mark then seen[mark] = true end
      local name, metric = string.match(set, '^(%S+) (%d+)$')
      local place = place_of(name)
      local key = member_key(place + 1, metric, actor)
      local group = members[key] or {}
      members[key], group[#group + 1], keys[#keys + 1] = group, actor, key
      list[last + 1], list[last + 2], list[last + 3], list[last + 4] = place, tonumber(metric), actor, stamp
      last = last + 5
    end
  end
  local states = read_states(members)
  for i, key in ipairs(keys) do list[5 * i] = states[key][list[5 * i - 2]] end
  return list, last
end

local function changes_after(after, state)
  if after < dropped then return pack(FORGOTTEN), 1 end
  if after >= clock then
    return pack(CHANGES, epoch, nonce, born, confirmed, settled, after, #goes_on / 2, unpack(goes_on)) .. pack(0, 0), 1
  end
  local news, words, up_to = marks_after(after)
  post_chunks = select(2, state_of(state))
  local entries, retold = {}, {}
  places, records = {}, {}
  for _, mark in ipairs(news) do
    if string.find(mark, ' ', 1, true) then retold[#retold + 1] = mark else entries[place_of(mark)] = 1 end
  end
  local toggled, toggled_last = toggled_of(words, retold)
  local list = { CHANGES, epoch, nonce, born, confirmed, settled, up_to or clock, #goes_on / 2 }
  local last = 8 + #goes_on
  for i, number in ipairs(goes_on) do list[8 + i] = number end
  last = last + 1
  list[last] = #records
  for i, record in ipairs(records) do
    list[last + 1], list[last + 2], list[last + 3] = names[i], entries[i - 1] or 0, record
    last = last + 3
  end
  last = last + 1
  list[last] = toggled_last / 5
  for i = 1, toggled_last do list[last + i] = toggled[i] end
  return joined(pack, list, last + toggled_last), 1 + #news + #words
end

-- Removes a log's words that all know. @return how many of its words are gone
local function trim(key, written, removed)
  local last = written > removed and call('XREVRANGE', key, text_of(settled), '-', 'COUNT', 1)[1]
  if not last then return removed end
  words_changed = true
  call('XTRIM', key, 'MINID', text_of(settled + 1))
  local _, gone = id_of(last[1])
  return gone
end

-- Keys of chunks of the oldest generation of registers, if all know these. They are taken from it.
local function old_keys(generations)
  local oldest, keys = generations[1], {}
  if not oldest or oldest.newest > settled then return keys end
  local prefix = registers.prefix_of(oldest)
  for chunk = math.max(0, oldest.chunks - CHUNKS_A_TURN), oldest.chunks - 1 do keys[#keys + 1] = touch(prefix .. chunk) end
  oldest.chunks = oldest.chunks - #keys
  if oldest.chunks > 0 then return keys end
  keys[#keys + 1] = touch(prefix .. 's')
  keys[#keys + 1] = touch(prefix .. 'l')
  table.remove(generations, 1)
  return keys
end

-- @return the answer, and about how much it says
local function collect(asked)
  values = values_of(asked)
  local after, told = values[2], values[3]
  touched = slots_move and { news_key(), given_key(), heard_key() } or touched
  local state, known_packed, generations_packed = open_bucket('y', 'i')
  local settled_before, dropped_before = settled, dropped
  settle(told, unpack_known(known_packed))
  local answer, spent = changes_after(after, state)
  local generations = registers.generations(generations_packed)
  local old = old_keys(generations)
  all_here()
  if not new_life and not regional_changed and after >= clock and #old == 0 then return answer, spent end
  if dropped > dropped_before then call('ZREMRANGEBYSCORE', news_key(), '-inf', told) end
  if settled > settled_before then
    given_removed = trim(given_key(), given_written, given_removed)
    heard_removed = trim(heard_key(), heard_written, heard_removed)
  end
  if #old > 0 then
    call('UNLINK', unpack(old))
    registers.write(generations)
  end
  write_life()
  write_regions()
  return answer, spent
end

local answers = {}
for i, key in ipairs(KEYS) do
  bucket, answers[i] = key, ''
  if budget > 0 then
    local done, answer, spent = pcall(collect, ARGV[7 + i])
    if not done then answer = '-' .. (type(answer) == 'table' and answer.err or tostring(answer)) end
    answers[i], budget = answer, budget - (spent or 1)
  end
end
return answers
