-- scripts/lib/milestones.lua: milestones of the bucket's metrics; the meaning is that of milestones.ts and milestone-records.ts. A bucket
-- without the field `milestones` has none, and pays nothing but reading that field.
-- @needs bucket keys server-time post-record posts publish
-- @constants VALUES_AT_ONCE REACHED_BY_ADD MILESTONES_MAX RECORD_VALUES FIELD_MILESTONES KEY_COUNTS_CHANNEL KEY_MILESTONES KEY_MILESTONE_RECORDS
-- @constants KEY_PROVISIONAL_MILESTONES
local milestones = {
  -- Whether the bucket has milestones, and whether a post of the current batch has one that is armed.
  has_any = false, is_armed = false,
  -- By index of the post and metric: the least threshold that is armed.
  least = {},
}
-- Whether this region may decide about a metric now; lib/homes.lua replaces it where a metric has a home.
local function is_always_decidable() return true end
milestones.is_decidable = is_always_decidable
-- The field `milestones`: how many the bucket has armed, and a list: post, metric, the least threshold that is armed, the next post …
-- Without the list if it would have more than LISTED_MAX entries: then the hash `milestones` is read for each batch, which costs as much.
local armed_count, listed, LISTED_MAX = 0, nil, 16
-- By index of the post and metric: `armed`, ascending; `record_count`; and, once they are needed, `stored_records` and `new_records`, packed.
local states = {}
local has_least, are_readers_created, are_writers_created = false, false, false

-- Creates what each call about a bucket with milestones needs. Each call would pay for functions, and hardly a bucket has milestones.
local function create_readers()
  local call, unpack, unpack_values, min = redis.call, unpack, cmsgpack.unpack, math.min
  local UPDATED_AT, VERSION, compute_total = post_record.UPDATED_AT, post_record.VERSION, post_record.compute_total
  local names, least = posts.names, milestones.least

  -- @param field  the field `milestones`
  function milestones.set_field(field)
    local values = { unpack_values(field) }
    armed_count, states = table.remove(values, 1), {}
    listed = (armed_count == 0 or #values > 0) and values or nil
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

  -- Records what a post has passed by no operation: see recordMissed in milestone-records.ts.
  local function record_missed(index, by_metric)
    local post = posts.records[index]
    for metric, n in pairs(by_metric) do
      local total = compute_total(post, metric)
      if total >= n and milestones.is_decidable(index, metric) then
        milestones.create_writers()
        milestones.reach(index, metric, total, post[VERSION], post[UPDATED_AT], '', '', 0, REACHED_BY_ADD, 0)
      end
    end
  end

  -- Reads what `write` needs, after recording what the first posts of `to_publish` have passed by no operation. What may fail fails here,
  -- before anything is written.
  -- @param changed_count  how many posts have changed, and have their new versions
  -- @return whether a milestone was reached
  function milestones.prepare(changed_count)
    for i = 1, changed_count do
      local index = posts.to_publish[i]
      if least[index] then record_missed(index, least[index]) end
    end
    return are_writers_created and milestones.read_reached()
  end

  -- Creates what only few calls need: those in which a milestone is reached, and those about milestones. To be called before all functions but
  -- `read` and `prepare`.
  function milestones.create_writers()
    if are_writers_created then return end
    local call, pack, unpack, unpack_values, format = redis.call, cmsgpack.pack, unpack, cmsgpack.unpack, string.format
    local remove, concat = table.remove, table.concat
    -- Values of a record: n, key of the actor, key of the session, seq, kind, value, total, version, epoch, time of the batch, time of the
    -- commit by the server that decided, 1 if nobody reached it else 0; the region that decided, empty for this one; 1 if that region has
    -- found it to be final else 0. The keys are in decimal, and empty for nobody.
    local N, SESSION, SEQ, VERSION_AFTER, AT, RECORDED_AT, REGION, IS_FINAL = 1, 3, 4, 8, 10, 11, 13, 14
    -- Those that have reached milestones: index of the post, metric, the next index …
    local reached, reached_last = {}, 0
    -- Where changed posts are recorded: time of the commit by this server, `post metric #n`, the next time …
    local provisional, provisional_last = {}, 0
    -- By index of the post: metric, n, version and time of the batch of each milestone that was reached.
    local news = {}

    function milestones.forget_reached()
      reached_last, provisional_last, news = 0, 0, {}
    end

    -- Has `write` write the milestones of a metric.
    local function list_changed(index, metric, state)
      if state.new_records then return end
      state.new_records, reached[reached_last + 1], reached[reached_last + 2] = '', index, metric
      reached_last = reached_last + 2
    end

    function milestones.armed_count()
      return armed_count
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
      armed_count = armed_count + change
      call('HSET', bucket.key, FIELD_MILESTONES, pack(armed_count, unpack(listed or {})))
    end

    -- The same, after something was armed or disarmed.
    function milestones.write_changed_field(change)
      if not listed and armed_count + change <= LISTED_MAX then list_armed() end
      milestones.write_field(change)
    end

    -- Reads the entry of a post in the hash `milestones`, false if there is none.
    function milestones.read_entry(name)
      return call('HGET', keys.track_key(bucket.key .. KEY_MILESTONES), name)
    end

    -- Reads the records of a metric of a post, packed, one after the other.
    function milestones.read_records(name, metric)
      return call('HGET', keys.track_key(bucket.key .. KEY_MILESTONE_RECORDS), name .. ' ' .. metric) or ''
    end

    -- @param matches  is called with the values of all records, and where one of them begins, less one
    -- @return whether one matches
    local function some_record(packed, matches)
      local values = packed == '' and {} or { unpack_values(packed) }
      for at = 0, #values - RECORD_VALUES, RECORD_VALUES do
        if matches(values, at) then return true end
      end
      return false
    end

    -- @return the values of the record of `n`, nil if there is none
    function milestones.find_record(packed, n)
      local record
      some_record(packed, function(values, at)
        if values[at + N] == n then record = { unpack(values, at + 1, at + RECORD_VALUES) } end
        return record
      end)
      return record
    end

    -- @param visit  is called with the values of each record
    function milestones.each_record(packed, visit)
      some_record(packed, function(values, at) visit({ unpack(values, at + 1, at + RECORD_VALUES) }) end)
    end

    -- Whether the packed records have one of `n`.
    function milestones.has_record(packed, n)
      return some_record(packed, function(values, at) return values[at + N] == n end)
    end

    local function read_state(index, metric)
      if not states[index] then
        states[index] = milestones.unpack_states(call('HGET', keys.track_key(bucket.key .. KEY_MILESTONES), posts.names[index]))
      end
      return states[index][metric]
    end

    local function read_stored(index, metric, state)
      if not state.stored_records then state.stored_records = milestones.read_records(posts.names[index], metric) end
      return state.stored_records
    end

    milestones.read_state = read_state

    local function ensure_state(index, metric)
      local state = read_state(index, metric) or { record_count = 0, armed = {} }
      states[index][metric] = state
      return state
    end

    milestones.ensure_state = ensure_state

    -- Writes what the metrics of a post have armed.
    function milestones.write_state(index)
      call('HSET', bucket.key .. KEY_MILESTONES, posts.names[index], milestones.pack_states(states[index]) or '')
    end

    -- Disarms what `is_wanted` is true for. To be called before `prepare`.
    local function disarm(index, metric, is_wanted)
      local state, left = ensure_state(index, metric), {}
      for _, n in ipairs(state.armed) do
        if is_wanted(n) then armed_count = armed_count - 1 else left[#left + 1] = n end
      end
      if #left == #state.armed then return end
      list_changed(index, metric, state)
      state.armed = left
      if milestones.least[index] then milestones.least[index][metric] = left[1] end
    end

    function milestones.disarm_all(index, metric)
      disarm(index, metric, function() return true end)
    end

    -- Keeps records of other regions, and disarms what they are of: see mergeReached in home-exchange.ts.
    -- @param theirs  the values of each
    function milestones.merge_records(index, metric, theirs)
      if #theirs == 0 then return end
      local state, own, news_by_n, first = ensure_state(index, metric), {}, {}, {}
      milestones.each_record(read_stored(index, metric, state) .. (state.new_records or ''), function(record) own[#own + 1] = record end)
      local room = MILESTONES_MAX - #own
      for _, record in ipairs(theirs) do
        local n, is_known, is_first = record[N], false, true
        for _, one in ipairs(own) do
          if one[N] == n then is_known, is_first = is_known or one[IS_FINAL] == 1 or record[IS_FINAL] == 0, false end
        end
        if not is_known and (not is_first or room > 0) then
          news_by_n[n], first[n] = record, is_first
          if is_first then room = room - 1 end
        end
      end
      if not next(news_by_n) then return end
      local kept, of_post = {}, news[index] or {}
      for _, record in ipairs(own) do
        if not news_by_n[record[N]] then kept[#kept + 1] = pack(unpack(record)) end
      end
      for n, record in pairs(news_by_n) do
        kept[#kept + 1] = pack(unpack(record))
        -- The next collect finds it to be final.
        if bucket.is_recording and record[IS_FINAL] == 1 then
          provisional[provisional_last + 1], provisional[provisional_last + 2] = 0, format('%s %d #%.0f', posts.names[index], metric, n)
          provisional_last = provisional_last + 2
        end
        if first[n] then of_post[#of_post + 1] = format('%.0f,%.0f,%.0f,%.0f', metric, n, record[VERSION_AFTER], record[AT]) end
      end
      list_changed(index, metric, state)
      state.stored_records, state.new_records, state.record_count = concat(kept), '', #kept
      if #of_post > 0 then news[index] = of_post end
      disarm(index, metric, function(n) return news_by_n[n] end)
    end

    -- Marks own records that no failover can lose any more. @return whether there are any
    function milestones.finalize(index, metric, final_up_to_ms)
      local state, records, has_changed = ensure_state(index, metric), {}, false
      if state.record_count == 0 then return false end
      milestones.each_record(read_stored(index, metric, state) .. (state.new_records or ''), function(record)
        if record[REGION] == '' and record[IS_FINAL] == 0 and record[RECORDED_AT] <= final_up_to_ms then
          record[IS_FINAL], has_changed = 1, true
        end
        records[#records + 1] = pack(unpack(record))
      end)
      if not has_changed then return false end
      list_changed(index, metric, state)
      state.stored_records, state.new_records = concat(records), ''
      return true
    end

    -- Whether an operation with this session and seq is the one that reached a milestone.
    function milestones.is_winner(index, metric, session, seq)
      local state = read_state(index, metric)
      if not state or state.record_count == 0 then return false end
      return some_record(read_stored(index, metric, state) .. (state.new_records or ''), function(values, at)
        return values[at + SESSION] == session and values[at + SEQ] == seq
      end)
    end

    -- Whether an operation is the first with which a total reaches a milestone: see reachMilestones in milestones.ts.
    -- @param value  of the operation
    function milestones.names_winner(index, metric, total, value)
      for _, n in ipairs(read_state(index, metric).armed) do
        if n <= total and n > total - value then return true end
      end
      return false
    end

    -- Records the milestones of a metric up to its total, of which there is at least one. Nobody reached those up to `total - value`.
    -- @param actor, session  keys in decimal, empty for nobody
    function milestones.reach(index, metric, total, version, at_ms, actor, session, seq, kind, value)
      local state, of_post = read_state(index, metric), news[index] or {}
      list_changed(index, metric, state)
      local armed, records, now_ms = state.armed, state.new_records, server_time.now_ms()
      while armed[1] and armed[1] <= total do
        local n = remove(armed, 1)
        if n > total - value then
          records = records .. pack(n, actor, session, seq, kind, value, total, version, bucket.epoch, at_ms, now_ms, 0, '', 0)
        else
          records = records .. pack(n, '', '', 0, REACHED_BY_ADD, 0, total, version, bucket.epoch, at_ms, now_ms, 1, '', 0)
        end
        armed_count, state.record_count = armed_count - 1, state.record_count + 1
        if bucket.is_recording then
          provisional[provisional_last + 1], provisional[provisional_last + 2] = now_ms, format('%s %d #%.0f', posts.names[index], metric, n)
          provisional_last = provisional_last + 2
        end
        of_post[#of_post + 1] = format('%.0f,%.0f,%.0f,%.0f', metric, n, version, at_ms)
      end
      state.new_records, news[index], milestones.least[index][metric] = records, of_post, armed[1]
    end

    -- Reads the records that `write` adds to. @return whether there are any
    function milestones.read_reached()
      for i = 1, reached_last, 2 do
        local index, metric = reached[i], reached[i + 1]
        read_stored(index, metric, states[index][metric])
      end
      if provisional_last > 0 then call('ZCARD', keys.track_key(bucket.key .. KEY_PROVISIONAL_MILESTONES)) end
      return reached_last > 0
    end

    function milestones.write()
      for i = 1, reached_last, 2 do
        local index, metric = reached[i], reached[i + 1]
        local name, state = posts.names[index], states[index][metric]
        local records = state.stored_records .. state.new_records
        if records ~= '' then call('HSET', bucket.key .. KEY_MILESTONE_RECORDS, name .. ' ' .. metric, records) end
        -- An entry that is empty stays: no command may name a key that one before it has emptied.
        milestones.write_state(index)
        milestones.change_list(name, metric, state.armed[1])
      end
      if provisional_last > 0 then
        call('ZADD', bucket.key .. KEY_PROVISIONAL_MILESTONES, unpack(provisional, 1, provisional_last))
      end
      milestones.write_field(0)
    end

    -- Publishes what the watched posts have reached, at once. A gateway of an older version ignores the messages, because they are no JSON.
    -- @param watched_count  as `publish.filter_watched` returned it
    function milestones.publish(watched_count)
      for i = 1, watched_count do
        local index = publish.watched[i]
        if news[index] then
          call('SPUBLISH', bucket.key .. KEY_COUNTS_CHANNEL .. posts.names[index], 'm[' .. concat(news[index], ',') .. ']')
        end
      end
    end

    -- The same for all posts, of which some may have no other change.
    function milestones.publish_all()
      for index, of_post in pairs(news) do
        call('SPUBLISH', bucket.key .. KEY_COUNTS_CHANNEL .. posts.names[index], 'm[' .. concat(of_post, ',') .. ']')
      end
    end

    are_writers_created = true
  end

  are_readers_created = true
end

-- @param field  the field `milestones`, false if the bucket has none
function milestones.open(field)
  milestones.has_any, milestones.is_armed, milestones.is_decidable = field and true, false, is_always_decidable
  if not field then return end
  if not are_readers_created then create_readers() end
  milestones.set_field(field)
  if are_writers_created then milestones.forget_reached() end
end

return milestones
