#!lua flags=no-writes
-- Reads some of the last words on toggles: a part of a log of them, or of what the logs have no room for.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: logs and registers, chunks of posts and members
-- ARGV[1]  run id of the server
-- ARGV[2]  r: the log of those given here, h: of those heard, i: registers
-- ARGV[3]  where to go on: "0" or what was returned before
-- ARGV[4]  about how many
-- ARGV[5]  those above this stamp
-- ARGV[6]  posts whose toggles these are, as a JSON array; empty: all
-- Returns  {where to go on, "0" if that was all; {a post, metric, the actor's key in decimal, stamp, 1 if it is on else 0, the next post
--          …}}
-- include post-record
-- include incarnation
-- include replication-state
-- include msgpack
-- include toggle-log
-- include registers
-- include toggles
local from, many, least, of_posts, places = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), nil, {}
for _, name in ipairs(cjson.decode(ARGV[6])) do
  of_posts = of_posts or {}
  of_posts[name] = true
end
local state, generations_packed = unpack(call('HMGET', bucket, 's', 'i'))
local _, post_chunks = state_of(state)
-- Entries of a log: some have one word, others many.
local ENTRIES_AT_ONCE = 20
-- How many were looked at, and those to be told
local looked, sets, actors, stamps, least_found = 0, {}, {}, {}, math.huge

local function take(set, actor, stamp)
  looked = looked + 1
  if stamp <= least or of_posts and not of_posts[string.match(set, '^%S+')] then return end
  sets[#sets + 1], actors[#actors + 1], stamps[#stamps + 1] = set, actor, stamp
  least_found = min(least_found, stamp)
end

-- @return the last entry that was read, "0" if there are no more
local function read_log(key)
  while looked < many do
    local entries = call('XRANGE', touch(key), '(' .. from, '+', 'COUNT', ENTRIES_AT_ONCE)
    if #entries == 0 then return '0' end
    each_group(entries, function(set, stamp, list, first, last)
      for i = first, last do take(set, list[i], stamp) end
    end)
    from = entries[#entries][1]
  end
  return from
end

-- @return generation and chunk that come next, "0" if there are no more
local function read_registers()
  local number, chunk = string.match(from, '^(%d+)-?(%d*)$')
  number, chunk = tonumber(number), tonumber(chunk) or 0
  for _, generation in ipairs(registers.generations(generations_packed)) do
    if generation.number > number then number, chunk = generation.number, 0 end
    while generation.number == number and chunk < generation.chunks do
      if looked >= many then return number .. '-' .. chunk end
      registers.each(generation, chunk, take)
      chunk = chunk + 1
    end
  end
  return '0'
end

local to = ARGV[2] == 'i' and read_registers() or read_log(bucket .. ':' .. ARGV[2])
local list, last = {}, 0
for i, stamp in ipairs(registers.stamps_of(sets, actors, least_found)) do
  -- Else it is found elsewhere.
  if stamp == stamps[i] then
    local name, metric = string.match(sets[i], '^(%S+) (%d+)$')
    local place = places[name]
    if not place then
      place = #names + 1
      local key = touch(posts_prefix() .. chunk_of(hash_of_post(name), post_chunks, size_of(post_chunks)))
      places[name], names[place], posts[place] = place, name, decode(call('HGET', key, name))
    end
    local on = call('SISMEMBER', touch(member_key(place, metric, actors[i])), actors[i])
    list[last + 1], list[last + 2], list[last + 3] = name, tonumber(metric), actors[i]
    list[last + 4], list[last + 5] = text_of(stamp), on
    last = last + 5
  end
end
all_here()
return { to, list }
