-- scripts/lib/homes.lua: which region decides about milestones, as the bucket keeps it. A bucket without milestones pays nothing; one in which
-- no metric has or had a home pays for reading two fields.
-- @needs bucket keys posts milestones
-- @constants VALUES_AT_ONCE FIELD_FORWARD_MARKS FIELD_HOMES HOME_RELEASED KEY_HOMES KEY_UNSETTLED_HOMES
local homes = {
  -- Whether a metric of the bucket has or had a home.
  has_any = false,
  -- By index of the post and metric: see `unpack_states`.
  states = {},
  -- The field `forward-marks`, false if the bucket has none.
  marks_field = false,
  -- Called with the index of a post whose home has changed, so that other regions get it. @return the stamp of the change
  record_count = nil,
}
-- Name of this region, and those of all others; `names` until they are needed.
local names, own_region, peers
-- The other options of each metric's choice; their text until they are needed.
local options
local is_created = false

-- The field `homes`: how many posts have an entry in the hash `homes`, how many are in `unsettled_homes`, and the names of the former if they
-- are at most LISTED_MAX.
local post_count, unsettled_count, listed, LISTED_MAX = 0, 0, nil, 16
-- Indices of posts whose entry has changed, of posts that may need settling, and names of those that need none any more. A post whose entry
-- changes may need settling, and only settling finds out.
local changed, unsettled, settled = {}, {}, {}

-- Creates what each call about a bucket with homes needs: see lib/milestones.lua. To be called before all functions but `configure` and `open`.
function homes.create()
  if is_created then return end
  milestones.create_writers()
  local call, pack, unpack, unpack_values, min, states = redis.call, cmsgpack.pack, unpack, cmsgpack.unpack, math.min, homes.states

  local function parse_names()
    if own_region then return end
    peers = {}
    for name in string.gmatch(names, '[^,]+') do
      if own_region then peers[#peers + 1] = name else own_region = name end
    end
  end

  function homes.own_region()
    parse_names()
    return own_region
  end

  function homes.peers()
    parse_names()
    return peers
  end

  -- @return the other options of a metric's choice
  function homes.other_options(metric)
    if type(options) == 'string' then
      local by_metric, next_metric = {}, 0
      for others in string.gmatch(options, '([^ ]*) ') do
        by_metric[next_metric] = {}
        for other in string.gmatch(others, '[^,]+') do table.insert(by_metric[next_metric], tonumber(other)) end
        next_metric = next_metric + 1
      end
      options = by_metric
    end
    return options[metric]
  end

  -- @return the state of a metric without a home. `region` is empty: it has none; of a confirmation: region, epoch, nonce, the home's region,
  --         number and mode, stamp
  function homes.new_state()
    return { region = '', number = 0, mode = HOME_RELEASED, is_effective = 0, confirmations = {}, starts = {}, forwarded_to = {} }
  end

  -- @param packed  an entry of the hash `homes`, false if there is none
  -- @return the states by metric
  function homes.unpack_states(packed)
    local by_metric, values, i = {}, packed and { unpack_values(packed) } or {}, 1
    local function take(count, size)
      local list = {}
      for item = 1, count do
        list[item] = size == 1 and values[i] or { unpack(values, i, i + size - 1) }
        i = i + size
      end
      return list
    end
    while i < #values do
      local metric, confirmations, starts, forwarded = values[i], values[i + 5], values[i + 6], values[i + 7]
      local state = { region = values[i + 1], number = values[i + 2], mode = values[i + 3], is_effective = values[i + 4] }
      i = i + 8
      state.confirmations, state.starts, state.forwarded_to = take(confirmations, 7), take(starts, 2), take(forwarded, 1)
      by_metric[metric] = state
    end
    return by_metric
  end

  local function pack_states(by_metric)
    local values = {}
    local function add(...)
      for _, value in ipairs({ ... }) do values[#values + 1] = value end
    end
    for metric, state in pairs(by_metric) do
      add(metric, state.region, state.number, state.mode, state.is_effective, #state.confirmations, #state.starts, #state.forwarded_to)
      for _, confirmation in ipairs(state.confirmations) do add(unpack(confirmation)) end
      for _, start in ipairs(state.starts) do add(unpack(start)) end
      add(unpack(state.forwarded_to))
    end
    return pack(unpack(values))
  end

  -- @param field  the field `homes`
  function homes.set_field(field)
    local values = { unpack_values(field) }
    post_count, unsettled_count = table.remove(values, 1), table.remove(values, 1)
    listed = post_count <= LISTED_MAX and values or nil
  end

  -- Reads the states of the first `count` posts that were read.
  function homes.read(count)
    local wanted = {}
    for index = 1, count do
      local is_wanted = not listed
      for _, name in ipairs(listed or {}) do is_wanted = is_wanted or name == posts.names[index] end
      if is_wanted then wanted[#wanted + 1] = index end
    end
    for first = 1, #wanted, VALUES_AT_ONCE do
      local last, fields = min(#wanted, first + VALUES_AT_ONCE - 1), {}
      for i = first, last do fields[i - first + 1] = posts.names[wanted[i]] end
      local found = call('HMGET', keys.track_key(bucket.key .. KEY_HOMES), unpack(fields))
      for i = first, last do
        if found[i - first + 1] then states[wanted[i]] = homes.unpack_states(found[i - first + 1]) end
      end
    end
  end

  -- @param after  a name, empty for the first page
  -- @return names of the next posts that may need settling
  function homes.read_unsettled(after, limit)
    local key = keys.track_key(bucket.key .. KEY_UNSETTLED_HOMES)
    return call('ZRANGE', key, after == '' and '-' or '(' .. after, '+', 'BYLEX', 'LIMIT', 0, limit)
  end

  -- @return names of all posts with an entry, and the entries
  function homes.read_all()
    local entries, all = call('HGETALL', keys.track_key(bucket.key .. KEY_HOMES)), {}
    for i = 1, #entries, 2 do all[#all + 1] = { entries[i], entries[i + 1] } end
    return all
  end

  function homes.find(index, metric)
    return states[index] and states[index][metric]
  end

  -- Has `write` write the entry of a post.
  function homes.note_change(index)
    changed[index], homes.has_any = true, true
  end

  -- Has settle-homes-n.lua look at a post whose entry may have no change.
  function homes.note_unsettled(index)
    unsettled[index], homes.has_any = true, true
  end

  -- @param name  one that `read_unsettled` has returned, and that no change may follow
  function homes.note_settled(name)
    settled[#settled + 1] = name
  end

  function homes.ensure(index, metric)
    local by_metric = states[index]
    if not by_metric then
      by_metric = {}
      states[index] = by_metric
    end
    by_metric[metric] = by_metric[metric] or homes.new_state()
    homes.note_change(index)
    return by_metric[metric]
  end

  -- Reads what `write` needs: see lib/reached-milestones.lua. @return whether there is something to be written
  function homes.prepare()
    local has_changes = next(changed) ~= nil or next(unsettled) ~= nil or #settled > 0
    if not has_changes then return false end
    call('HLEN', keys.track_key(bucket.key .. KEY_HOMES))
    call('ZCARD', keys.track_key(bucket.key .. KEY_UNSETTLED_HOMES))
    return true
  end

  local function list_post(name)
    for _, one in ipairs(listed or {}) do
      if one == name then return end
    end
    if listed then listed[#listed + 1] = name end
  end

  -- The field `milestones` exists wherever the field `homes` does.
  function homes.write()
    if next(changed) == nil and next(unsettled) == nil and #settled == 0 then return end
    for index in pairs(changed) do
      post_count = post_count + call('HSET', bucket.key .. KEY_HOMES, posts.names[index], pack_states(states[index]))
      list_post(posts.names[index])
      unsettled[index] = true
    end
    for index in pairs(unsettled) do
      unsettled_count = unsettled_count + call('ZADD', bucket.key .. KEY_UNSETTLED_HOMES, 0, posts.names[index])
    end
    if post_count > LISTED_MAX then listed = nil end
    call('HSET', bucket.key, FIELD_HOMES, pack(post_count, unsettled_count - #settled, unpack(listed or {})))
    milestones.write_field(0)
    -- Last, because no command may name a key that one before it has emptied.
    if #settled > 0 then call('ZREM', bucket.key .. KEY_UNSETTLED_HOMES, unpack(settled)) end
    changed, unsettled, settled = {}, {}, {}
  end

  is_created = true
end

-- @param names_of_regions  of this one and all others, with commas between them
-- @param on_change         `record_count`; nil where no home changes
-- @param options_text      the other options of each metric's choice, with commas between them, and a blank after each metric; nil where no
--                          home of another region is merged or taken over
function homes.configure(names_of_regions, on_change, options_text)
  names, homes.record_count, options = names_of_regions, on_change, options_text
end

-- To be called after `milestones.open`.
function homes.open()
  homes.has_any = false
  if bucket.own_region < 0 or not milestones.has_any then return end
  local field, marks_field = unpack(redis.call('HMGET', bucket.key, FIELD_HOMES, FIELD_FORWARD_MARKS))
  for index in pairs(homes.states) do homes.states[index] = nil end
  changed, unsettled, settled, post_count, unsettled_count, listed = {}, {}, {}, 0, 0, {}
  homes.has_any, homes.marks_field = field and true, marks_field
  if not field then return end
  homes.create()
  homes.set_field(field)
end

return homes
