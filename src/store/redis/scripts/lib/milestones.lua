-- scripts/lib/milestones.lua: which milestones of the bucket's metrics are armed; the meaning is that of milestones.ts. A bucket without the
-- field `milestones` has none, and pays nothing but reading that field.
-- @needs bucket keys posts
-- @constants VALUES_AT_ONCE FIELD_MILESTONES KEY_MILESTONES
local milestones = {
  -- Whether the bucket has milestones, and whether a post of the current batch has one that is armed.
  has_any = false, is_armed = false,
  -- By index of the post and metric: the least threshold that is armed.
  least = {},
  -- How many the bucket has armed.
  armed_count = 0,
}
-- Whether this region may decide about a metric now; lib/home-decisions.lua replaces it where there are other regions.
local function is_always_decidable() return true end
milestones.is_decidable = is_always_decidable
-- The field `milestones`: how many the bucket has armed, and a list: post, metric, the least threshold that is armed, the next post …
-- Without the list if it would have more than LISTED_MAX entries: then the hash `milestones` is read for each batch, which costs as much.
local listed, LISTED_MAX = nil, 16
-- By index of the post and metric: `armed`, ascending; `record_count`; and, for lib/reached-milestones.lua, once they are needed,
-- `stored_records` and `new_records`, packed.
local states = {}
local has_least, are_readers_created, are_writers_created = false, false, false

-- Creates what each call about a bucket with milestones needs. Each call would pay for functions, and hardly a bucket has milestones.
local function create_readers()
  local call, unpack, unpack_values, min = redis.call, unpack, cmsgpack.unpack, math.min
  local names, least = posts.names, milestones.least

  -- @param field  the field `milestones`
  function milestones.set_field(field)
    local values = { unpack_values(field) }
    milestones.armed_count, states = table.remove(values, 1), {}
    listed = (milestones.armed_count == 0 or #values > 0) and values or nil
    if not has_least then return end
    for index in pairs(least) do least[index] = nil end
    has_least = false
  end

  -- @param packed  an entry of the hash `milestones`, false if there is none
  -- @return the states by metric
  function milestones.unpack_states(packed)
    local by_metric, values = {}, packed and { unpack_values(packed) } or {}
    local i, last = 1, #values
    while i < last do
      local armed, count = {}, values[i + 2]
      for number = 1, count do armed[number] = values[i + 2 + number] end
      by_metric[values[i]] = { record_count = values[i + 1], armed = armed }
      i = i + 3 + count
    end
    return by_metric
  end

  local function set_least(index, metric, n)
    least[index] = least[index] or {}
    least[index][metric], milestones.is_armed, has_least = n, true, true
  end

  local function read_states(count)
    local key = keys.track_key(bucket.key .. KEY_MILESTONES)
    for first = 1, count, VALUES_AT_ONCE do
      local last = min(count, first + VALUES_AT_ONCE - 1)
      local found = call('HMGET', key, unpack(names, first, last))
      for i = first, last do
        states[i] = milestones.unpack_states(found[i - first + 1])
        for metric, state in pairs(states[i]) do
          if state.armed[1] then set_least(i, metric, state.armed[1]) end
        end
      end
    end
  end

  -- Finds what is armed of the first `count` posts that were read.
  function milestones.read(count)
    if not listed then return read_states(count) end
    local list, last = listed, #listed
    for index = 1, count do
      local name = names[index]
      for i = 1, last, 3 do
        if list[i] == name then set_least(index, list[i + 1], list[i + 2]) end
      end
    end
  end

  are_readers_created = true
end

-- Creates what only few calls need: those in which a milestone is reached, and those about milestones. To be called before all functions but
-- `read` and `unpack_states`.
function milestones.create_writers()
  if are_writers_created then return end
  local call, pack, unpack, remove = redis.call, cmsgpack.pack, unpack, table.remove

  -- Reads the entry of a post in the hash `milestones`, false if there is none.
  function milestones.read_entry(name)
    return call('HGET', keys.track_key(bucket.key .. KEY_MILESTONES), name)
  end

  function milestones.read_state(index, metric)
    if not states[index] then states[index] = milestones.unpack_states(milestones.read_entry(posts.names[index])) end
    return states[index][metric]
  end

  function milestones.ensure_state(index, metric)
    local state = milestones.read_state(index, metric) or { record_count = 0, armed = {} }
    states[index][metric] = state
    return state
  end

  -- @return the entry of the hash `milestones`, nil if no metric has any
  function milestones.pack_states(by_metric)
    local values, last = {}, 0
    for metric, state in pairs(by_metric) do
      local armed, count = state.armed, #state.armed
      if count > 0 or state.record_count > 0 then
        values[last + 1], values[last + 2], values[last + 3] = metric, state.record_count, count
        for i = 1, count do values[last + 3 + i] = armed[i] end
        last = last + 3 + count
      end
    end
    return last > 0 and pack(unpack(values, 1, last)) or nil
  end

  -- An entry that is empty stays: no command may name a key that one before it has emptied.
  function milestones.write_state(index)
    call('HSET', bucket.key .. KEY_MILESTONES, posts.names[index], milestones.pack_states(states[index]) or '')
  end

  -- Makes the list again when it is short enough.
  local function list_armed()
    local entries = call('HGETALL', bucket.key .. KEY_MILESTONES)
    listed = {}
    for i = 1, #entries, 2 do
      for metric, state in pairs(milestones.unpack_states(entries[i + 1])) do
        if state.armed[1] then milestones.change_list(entries[i], metric, state.armed[1]) end
      end
    end
  end

  -- @param n  the least threshold that is armed now, nil if none is
  function milestones.change_list(name, metric, n)
    if not listed then return end
    for i = 1, #listed, 3 do
      if listed[i] == name and listed[i + 1] == metric then
        if n then
          listed[i + 2] = n
        else
          for _ = 1, 3 do remove(listed, i) end
        end
        return
      end
    end
    if not n then return end
    if #listed >= 3 * LISTED_MAX then
      listed = nil
    else
      listed[#listed + 1], listed[#listed + 2], listed[#listed + 3] = name, metric, n
    end
  end

  -- Changes how many are armed, and writes the field. To be called after the hash was written.
  function milestones.write_field(change)
    milestones.armed_count = milestones.armed_count + change
    call('HSET', bucket.key, FIELD_MILESTONES, pack(milestones.armed_count, unpack(listed or {})))
  end

  -- The same, after something was armed or disarmed.
  function milestones.write_changed_field(change)
    if not listed and milestones.armed_count + change <= LISTED_MAX then list_armed() end
    milestones.write_field(change)
  end

  are_writers_created = true
end

-- @param field  the field `milestones`, false if the bucket has none
function milestones.open(field)
  milestones.has_any, milestones.is_armed, milestones.is_decidable = field and true, false, is_always_decidable
  if not field then return end
  if not are_readers_created then create_readers() end
  milestones.set_field(field)
  -- Set by lib/reached-milestones.lua.
  if milestones.forget_reached then milestones.forget_reached() end
end

return milestones
