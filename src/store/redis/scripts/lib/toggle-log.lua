-- scripts/lib/toggle-log.lua: recent toggle updates. They are in two streams, the local and the remote log. An entry has the updates of
-- a batch or of a delta fragment, so a batch costs one command however many updates it has. The entry's id is a stamp at or above
-- theirs, and how many updates were ever written to the log up to it. So updates later than a stamp are at the end of the logs, or in
-- the registers of lib/registers.lua.
--
-- An entry is msgpack: how many values follow; then groups: post, metric, stamp (0: that of the id), how many actors, their keys in
-- decimal.
-- @needs msgpack hybrid-clock
local match, pack, stamp_text = string.match, cmsgpack.pack, hybrid_clock.stamp_text

-- Names a toggle of a post, without the actor.
local function set_name(post, metric)
  return post .. ' ' .. metric
end

-- @return post, metric
local function parse_set_name(set)
  local post, metric = match(set, '^(%S+) (%d+)$')
  return post, tonumber(metric)
end

-- Names an actor's toggle of a post.
local function toggle_name(set, actor)
  return set .. ' ' .. actor
end

-- @return set, actor
local function parse_toggle(toggle)
  return match(toggle, '^(%S+ %d+) (%S+)$')
end

-- @param list  the values of the entry; `last`: their number
local function append(key, stamp, written, list, last)
  redis.call('XADD', key, stamp_text(stamp) .. '-' .. stamp_text(written), 'updates', pack(last) .. msgpack.concat_packed(pack, list, last))
end

-- @return stamp, number of updates written up to it
local function parse_id(id)
  local stamp, written = match(id, '^(%d+)-(%d+)$')
  return tonumber(stamp), tonumber(written)
end

-- Calls `take(set, stamp, list, from, to)` for each group of updates; the actors are list[from] to list[to].
local function each_group(entries, take)
  for _, entry in ipairs(entries) do
    local list, stamp_of_id = msgpack.unpack_list(entry[2][2]), parse_id(entry[1])
    local i, last = 2, #list
    while i < last do
      local stamp, to = list[i + 2], i + 3 + list[i + 3]
      take(set_name(list[i], list[i + 1]), stamp == 0 and stamp_of_id or stamp, list, i + 4, to)
      i = to + 1
    end
  end
end

return {
  set_name = set_name, parse_set_name = parse_set_name, toggle_name = toggle_name, parse_toggle = parse_toggle,
  append = append, parse_id = parse_id, each_group = each_group,
}
