#!lua flags=allow-oom
-- What was changed here after a stamp, newest state only: the meaning is that of `settle` in regional.ts, and of changesAfter in
-- ship.ts. Registers and marks that nobody needs any more are removed, a bounded number at a time.
--
-- KEYS[i]  tc:{b}    the bucket's hash; derived from it: chunks of posts and members, marks, registers
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of the epochs that begin
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
-- include lib-bucket
-- include lib-life
-- include lib-regions
-- include lib-values
-- include lib-toggles
local FORGOTTEN, CHANGES = 0, 1
local REMOVED_A_TURN = 500
nonce_new, region, slots_move = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local peers, limit, budget = cjson.decode(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

local post_chunks, places, records

local function settle(told)
  local known, all = read_known(), told_at == 0
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

-- Marks after a stamp, all of a stamp or none. @return the stamp of the last, nil if there are no more after them
local function marks_after(stamp)
  local low = '(' .. text_of(stamp)
  local news = call('ZRANGEBYSCORE', news_key(), low, '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
  local given = call('ZRANGEBYSCORE', given_key(), low, '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
  local i, j, last, high = 2, 2, nil, '+inf'
  if #news + #given >= 2 * limit then
    for _ = 1, limit do
      local a, b = tonumber(news[i]) or math.huge, tonumber(given[j]) or math.huge
      if a <= b then last, i = a, i + 2 else last, j = b, j + 2 end
    end
    high = text_of(last)
  end
  news = call('ZRANGEBYSCORE', news_key(), low, high)
  given = call('ZRANGEBYSCORE', given_key(), low, high)
  if not last then return news, given end
  local more = '(' .. high
  if call('ZCOUNT', news_key(), more, '+inf') + call('ZCOUNT', given_key(), more, '+inf') == 0 then last = nil end
  return news, given, last
end

-- The post's place, from 0. It becomes one of those at hand.
local function place_of(name)
  local place = places[name]
  if place then return place end
  place = #records
  local key = touch(posts_prefix() .. chunk_of(hash_of_post(name), post_chunks, size_of(post_chunks)))
  local record = call('HGET', key, name)
  places[name], names[place + 1], records[place + 1], posts[place + 1] = place, name, record or '', decode(record)
  return place
end

local function toggled_of(marks, seen)
  local list, stamps, last = {}, stamps_of(marks), 0
  for i, mark in ipairs(marks) do
    -- Else another region had a later word, and tells of it itself; or all know.
    if stamps[i] > settled and gave(stamps[i]) and not seen[mark] then
      seen[mark] = true
      local name, metric, actor = take_apart_mark(mark)
      local place = place_of(name)
      list[last + 1], list[last + 2], list[last + 3], list[last + 4] = place, metric, actor, stamps[i]
      list[last + 5] = call('SISMEMBER', touch(member_key(place + 1, metric, actor)), actor)
      last = last + 5
    end
  end
  return list, last
end

local function changes_after(after)
  if after < dropped then return pack(FORGOTTEN), 1 end
  local news, given, up_to = {}, {}, nil
  if after < clock then news, given, up_to = marks_after(after) end
  local entries, marks = {}, given
  places, records = {}, {}
  for _, mark in ipairs(news) do
    if string.find(mark, ' ', 1, true) then marks[#marks + 1] = mark else entries[place_of(mark)] = 1 end
  end
  local toggled, toggled_last = toggled_of(marks, {})
  local list = { CHANGES, epoch, nonce, born, confirmed, settled, up_to or math.max(clock, after), #goes_on / 2 }
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
  return joined(pack, list, last + toggled_last), 1 + #news + #given
end

-- @return the answer, and about how much it says
local function collect(asked)
  values = values_of(asked)
  local after, told = values[2], values[3]
  touched = slots_move and { news_key(), given_key(), heard_key() } or touched
  local _, chunks = state_of(open_bucket())
  post_chunks = chunks
  settle(told)
  local answer, spent = changes_after(after)
  local given = call('ZCOUNT', given_key(), '-inf', settled)
  local heard = call('ZCOUNT', heard_key(), '-inf', settled)
  all_here()
  if not new_life and not regional_changed and after >= clock and given + heard == 0 then return answer, spent end
  call('ZREMRANGEBYSCORE', news_key(), '-inf', told)
  if given > 0 then call('ZREMRANGEBYRANK', given_key(), 0, min(given, REMOVED_A_TURN) - 1) end
  if heard > 0 then call('ZREMRANGEBYRANK', heard_key(), 0, min(heard, REMOVED_A_TURN) - 1) end
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
