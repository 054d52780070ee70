#!lua flags=no-writes
-- Reads some of the latest toggle updates: from one of the toggle logs, or from the registers.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: toggle logs, registers, chunks of posts and members
-- ARGV[1]  run id of the server
-- ARGV[2]  local: the local log, remote: the remote log, registers: the registers
-- ARGV[3]  cursor: "0", or what was returned before
-- ARGV[4]  updates to be looked at, about
-- ARGV[5]  only updates above this stamp
-- ARGV[6]  only updates of these posts, JSON array; empty: all
-- Returns  {cursor, "0" if these are all,
--           {a post, metric, the actor's key in decimal, stamp, 1 if it is on else 0, the next post …}}
-- @include bucket keys hybrid-clock post-record posts members toggle-log registers
-- @constants FIELD_SIZES FIELD_REGISTERS STORAGE_REGISTERS STORAGE_LOCAL_LOG
-- @constants KEY_LOCAL_LOG KEY_REMOTE_LOG
local call, min = redis.call, math.min
local cursor, limit, low = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
-- Entries of a log that are read at once: some have one update, others many.
local ENTRIES_AT_ONCE = 20
local wanted_posts
for _, name in ipairs(cjson.decode(ARGV[6])) do
  wanted_posts = wanted_posts or {}
  wanted_posts[name] = true
end
local sizes, packed_registers = unpack(call('HMGET', bucket.key, FIELD_SIZES, FIELD_REGISTERS))
bucket.set_sizes(sizes)
-- How many updates were looked at; the toggles of those that are wanted, and their stamps.
local looked_at, sets, actors, stamps, least = 0, {}, {}, {}, math.huge

local function take(set, actor, stamp)
  looked_at = looked_at + 1
  if stamp <= low or wanted_posts and not wanted_posts[toggle_log.parse_set_name(set)] then return end
  sets[#sets + 1], actors[#actors + 1], stamps[#stamps + 1] = set, actor, stamp
  least = min(least, stamp)
end

-- @return the last entry that was read, "0" if there are no more
local function read_log(key)
  while looked_at < limit do
    local entries = call('XRANGE', keys.track_key(key), '(' .. cursor, '+', 'COUNT', ENTRIES_AT_ONCE)
    if #entries == 0 then return '0' end
    toggle_log.each_group(entries, function(set, stamp, list, from, to)
      for i = from, to do take(set, list[i], stamp) end
    end)
    cursor = entries[#entries][1]
  end
  return cursor
end

-- @return the next chunk, "0" if there are no more
local function read_registers()
  local state = registers.unpack_state(packed_registers)
  for chunk = tonumber(cursor), state and state.chunks - 1 or -1 do
    if looked_at >= limit then return tostring(chunk) end
    registers.each(chunk, take)
  end
  return '0'
end

local function read_source()
  if ARGV[2] == STORAGE_REGISTERS then return read_registers() end
  return read_log(ARGV[2] == STORAGE_LOCAL_LOG and bucket.key .. KEY_LOCAL_LOG or bucket.key .. KEY_REMOTE_LOG)
end

-- @return index of the post, which is read if it has none
local indices, post_count = {}, 0
local function index_of(name)
  local index = indices[name]
  if index then return index end
  post_count = post_count + 1
  indices[name], posts.names[post_count] = post_count, name
  posts.records[post_count] = post_record.decode(call('HGET', posts.chunk_key(name), name))
  return post_count
end

local next_cursor = read_source()
local list, last = {}, 0
for i, stamp in ipairs(registers.read_stamps(sets, actors, least)) do
  -- A later update is found where it is.
  if stamp == stamps[i] then
    local name, metric = toggle_log.parse_set_name(sets[i])
    local key = keys.track_key(members.chunk_key(index_of(name), metric, actors[i]))
    list[last + 1], list[last + 2], list[last + 3] = name, metric, actors[i]
    list[last + 4], list[last + 5] = hybrid_clock.stamp_text(stamp), call('SISMEMBER', key, actors[i])
    last = last + 5
  end
end
keys.assert_slot_local()
return { next_cursor, list }
