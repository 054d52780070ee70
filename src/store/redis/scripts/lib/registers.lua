-- scripts/lib/registers.lua: LWW registers of toggles that the toggle logs have no room for: most of them while a region is down. They
-- are packed in segments. A segment has chunks of actors: actor → for each of its registers 2 bytes, the number of the toggle's set,
-- and the stamp less the segment's base, which is before all its stamps. The segment numbers its sets. It is removed as a whole when
-- all its stamps are stable.
-- @needs bucket keys chunks hybrid-clock toggle-log
-- @constants VALUES_AT_ONCE FIELD_SEGMENTS
-- @constants KEY_LOCAL_LOG KEY_REMOTE_LOG
local call, unpack, min, max, pack = redis.call, unpack, math.min, math.max, cmsgpack.pack
local unpack_bytes, track_key = struct.unpack, keys.track_key
local SET_BYTES = 2

-- @return struct's format of a register, and its bytes
local function format_for(segment)
  return '>I' .. SET_BYTES .. 'I' .. segment.stamp_bytes, SET_BYTES + segment.stamp_bytes
end

-- @param packed  the field `segments`
-- @return the segments, oldest first. `first_moved` and `newest` are the latest stamps of the first move to the segment and of all
--         moves; `sets`, `actors` and `chunks` are numbers
local function unpack_segments(packed)
  local segments = {}
  local list = packed and { cmsgpack.unpack(packed) } or {}
  for i = 1, #list, 8 do
    segments[#segments + 1] = {
      number = list[i], base = list[i + 1], stamp_bytes = list[i + 2], first_moved = list[i + 3], newest = list[i + 4],
      sets = list[i + 5], actors = list[i + 6], chunks = list[i + 7],
    }
  end
  return segments
end

local function read_segments()
  return unpack_segments(call('HGET', bucket.key, FIELD_SEGMENTS))
end

local function write_segments(segments)
  if #segments == 0 then
    call('HDEL', bucket.key, FIELD_SEGMENTS)
    return
  end
  local list, last = {}, 0
  for _, segment in ipairs(segments) do
    list[last + 1], list[last + 2], list[last + 3], list[last + 4] = segment.number, segment.base, segment.stamp_bytes, segment.first_moved
    list[last + 5], list[last + 6], list[last + 7], list[last + 8] = segment.newest, segment.sets, segment.actors, segment.chunks
    last = last + 8
  end
  call('HSET', bucket.key, FIELD_SEGMENTS, pack(unpack(list)))
end

local function read_fields(key, fields)
  local values = {}
  for from = 1, #fields, VALUES_AT_ONCE do
    local some = call('HMGET', track_key(key), unpack(fields, from, min(from + VALUES_AT_ONCE - 1, #fields)))
    for i = 1, #some do values[from + i - 1] = some[i] end
  end
  return values
end

-- @return by set: its number in the segment; sets without one are left out
local function read_set_numbers(segment, sets)
  local numbers = {}
  for i, number in ipairs(read_fields(keys.register_sets(segment.number), sets)) do
    if number then numbers[sets[i]] = tonumber(number) end
  end
  return numbers
end

-- @param by_actor  a table whose keys are actors
-- @return by actor: its packed registers; actors without any are left out
local function read_actors(segment, by_actor)
  local prefix, size, groups, found = keys.registers_prefix(segment.number), chunks.size_for(segment.chunks), {}, {}
  for actor in pairs(by_actor) do
    local chunk = chunks.chunk_for(chunks.hash_key(actor), segment.chunks, size)
    local group = groups[chunk]
    if group then group[#group + 1] = actor else groups[chunk] = { actor } end
  end
  for chunk, actors in pairs(groups) do
    for i, packed in ipairs(read_fields(prefix .. chunk, actors)) do found[actors[i]] = packed or nil end
  end
  return found
end

-- Calls `take(set, actor, stamp)` for each register in a chunk.
local function each(segment, chunk, take)
  local sets, format, step = {}, format_for(segment)
  local list = call('HGETALL', track_key(keys.registers_prefix(segment.number) .. chunk))
  for i = 1, #list, 2 do
    for at = 1, #list[i + 1], step do
      local number, stamp = unpack_bytes(format, list[i + 1], at)
      sets[number] = sets[number] or call('LINDEX', track_key(keys.register_names(segment.number)), number)
      take(sets[number], list[i], segment.base + stamp)
    end
  end
end

-- Raises the stamps in wanted[set][actor] to those in a segment.
local function raise_stamps(wanted, segment)
  local sets, by_actor, format, step = {}, {}, format_for(segment)
  for set in pairs(wanted) do sets[#sets + 1] = set end
  for set, number in pairs(read_set_numbers(segment, sets)) do
    for actor in pairs(wanted[set]) do
      local set_by_number = by_actor[actor] or {}
      by_actor[actor], set_by_number[number] = set_by_number, set
    end
  end
  for actor, packed in pairs(read_actors(segment, by_actor)) do
    for i = 1, #packed, step do
      local number, stamp = unpack_bytes(format, packed, i)
      local set = by_actor[actor][number]
      if set then wanted[set][actor] = max(wanted[set][actor], segment.base + stamp) end
    end
  end
end

-- Stamps of the latest updates of toggles, 0 where none is kept. Of an update before `least` the result may be 0 or an earlier stamp.
-- @param sets, actors  the toggles: a set and an actor each
-- @param logs          keys of the logs that may have updates of theirs; nil: both
local function read_stamps(sets, actors, least, logs)
  local wanted, stamps = {}, {}
  if #sets == 0 then return stamps end
  for i, set in ipairs(sets) do
    wanted[set] = wanted[set] or {}
    wanted[set][actors[i]] = 0
  end
  for _, key in ipairs(logs or { bucket.key .. KEY_LOCAL_LOG, bucket.key .. KEY_REMOTE_LOG }) do
    toggle_log.each_group(call('XRANGE', track_key(key), hybrid_clock.stamp_text(least), '+'), function(set, stamp, list, from, to)
      local by_actor = wanted[set]
      if not by_actor then return end
      for i = from, to do
        local found = by_actor[list[i]]
        if found and found < stamp then by_actor[list[i]] = stamp end
      end
    end)
  end
  for _, segment in ipairs(read_segments()) do
    if segment.newest >= least then raise_stamps(wanted, segment) end
  end
  for i, set in ipairs(sets) do stamps[i] = wanted[set][actors[i]] end
  return stamps
end

return {
  format_for = format_for, unpack_segments = unpack_segments, read_segments = read_segments, write_segments = write_segments,
  read_set_numbers = read_set_numbers, each = each, read_stamps = read_stamps,
}
