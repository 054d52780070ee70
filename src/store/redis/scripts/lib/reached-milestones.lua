-- scripts/lib/reached-milestones.lua: records who reaches milestones, and publishes what watched posts have reached; the meaning is that of
-- milestone-records.ts.
-- @needs bucket keys server-time post-record posts publish milestones milestone-records
-- @constants REACHED_BY_ADD KEY_COUNTS_CHANNEL KEY_MILESTONE_RECORDS KEY_PROVISIONAL_MILESTONES
local reached_milestones = {}
local is_created = false

-- To be called before all functions but `prepare`: see lib/milestones.lua.
function reached_milestones.create()
  if is_created then return end
  milestones.create_writers()
  milestone_records.create()
  local call, pack, unpack, format, concat, remove = redis.call, cmsgpack.pack, unpack, string.format, table.concat, table.remove
  local SESSION, SEQ = milestone_records.SESSION, milestone_records.SEQ
  -- Those whose records have changed: index of the post, metric, the next index …
  local changed, changed_last = {}, 0
  -- Where changed posts are recorded: time of the commit by this server, `post metric #n`, the next time …
  local provisional, provisional_last = {}, 0
  -- By index of the post: metric, n, version and time of the batch of each milestone that was reached.
  local news = {}

  function milestones.forget_reached()
    changed_last, provisional_last, news = 0, 0, {}
  end

  -- Has `write` write the milestones of a metric.
  function reached_milestones.list_changed(index, metric, state)
    if state.new_records then return end
    state.new_records, changed[changed_last + 1], changed[changed_last + 2] = '', index, metric
    changed_last = changed_last + 2
  end

  -- @param recorded_at_ms  the next collect finds the record to be final if this is 0
  function reached_milestones.list_provisional(index, metric, n, recorded_at_ms)
    if not bucket.is_recording then return end
    provisional[provisional_last + 1], provisional[provisional_last + 2] = recorded_at_ms, format('%s %d #%.0f', posts.names[index], metric, n)
    provisional_last = provisional_last + 2
  end

  function reached_milestones.list_news(index, metric, n, version, at_ms)
    news[index] = news[index] or {}
    news[index][#news[index] + 1] = format('%.0f,%.0f,%.0f,%.0f', metric, n, version, at_ms)
  end

  local function read_stored(index, metric, state)
    if not state.stored_records then state.stored_records = milestone_records.read(posts.names[index], metric) end
    return state.stored_records
  end

  -- @return all records of a metric, packed, with those of this call
  function reached_milestones.read_records(index, metric, state)
    return read_stored(index, metric, state) .. (state.new_records or '')
  end

  -- Whether an operation with this session and seq is the one that reached a milestone.
  function reached_milestones.is_winner(index, metric, session, seq)
    local state = milestones.read_state(index, metric)
    if not state or state.record_count == 0 then return false end
    return milestone_records.some(reached_milestones.read_records(index, metric, state), function(values, at)
      return values[at + SESSION] == session and values[at + SEQ] == seq
    end)
  end

  -- Whether an operation is the first with which a total reaches a milestone: see reachMilestones in milestones.ts.
  -- @param value  of the operation
  function reached_milestones.names_winner(index, metric, total, value)
    for _, n in ipairs(milestones.read_state(index, metric).armed) do
      if n <= total and n > total - value then return true end
    end
    return false
  end

  -- Records the milestones of a metric up to its total, of which there is at least one. Nobody reached those up to `total - value`.
  -- @param actor, session  keys in decimal, empty for nobody
  function reached_milestones.reach(index, metric, total, version, at_ms, actor, session, seq, kind, value)
    local state = milestones.read_state(index, metric)
    reached_milestones.list_changed(index, metric, state)
    local armed, records, now_ms = state.armed, state.new_records, server_time.now_ms()
    while armed[1] and armed[1] <= total do
      local n = remove(armed, 1)
      if n > total - value then
        records = records .. pack(n, actor, session, seq, kind, value, total, version, bucket.epoch, at_ms, now_ms, 0, '', 0)
      else
        records = records .. pack(n, '', '', 0, REACHED_BY_ADD, 0, total, version, bucket.epoch, at_ms, now_ms, 1, '', 0)
      end
      milestones.armed_count, state.record_count = milestones.armed_count - 1, state.record_count + 1
      reached_milestones.list_provisional(index, metric, n, now_ms)
      reached_milestones.list_news(index, metric, n, version, at_ms)
    end
    state.new_records, milestones.least[index][metric] = records, armed[1]
  end

  -- Reads the records that `write` adds to. @return whether there are any
  function reached_milestones.read_changed()
    for i = 1, changed_last, 2 do
      local index, metric = changed[i], changed[i + 1]
      read_stored(index, metric, milestones.read_state(index, metric))
    end
    if provisional_last > 0 then call('ZCARD', keys.track_key(bucket.key .. KEY_PROVISIONAL_MILESTONES)) end
    return changed_last > 0
  end

  function reached_milestones.write()
    for i = 1, changed_last, 2 do
      local index, metric = changed[i], changed[i + 1]
      local name, state = posts.names[index], milestones.read_state(index, metric)
      local records = state.stored_records .. state.new_records
      if records ~= '' then call('HSET', bucket.key .. KEY_MILESTONE_RECORDS, name .. ' ' .. metric, records) end
      milestones.write_state(index)
      milestones.change_list(name, metric, state.armed[1])
    end
    if provisional_last > 0 then
      call('ZADD', bucket.key .. KEY_PROVISIONAL_MILESTONES, unpack(provisional, 1, provisional_last))
    end
    milestones.write_field(0)
  end

  local function publish_news(index, of_post)
    call('SPUBLISH', bucket.key .. KEY_COUNTS_CHANNEL .. posts.names[index], 'm[' .. concat(of_post, ',') .. ']')
  end

  -- Publishes what the watched posts have reached, at once. A gateway of an older version ignores the messages, because they are no JSON.
  -- @param watched_count  as `publish.filter_watched` returned it
  function reached_milestones.publish(watched_count)
    for i = 1, watched_count do
      local index = publish.watched[i]
      if news[index] then publish_news(index, news[index]) end
    end
  end

  -- The same for all posts, of which some may have no other change.
  function reached_milestones.publish_all()
    for index, of_post in pairs(news) do publish_news(index, of_post) end
  end

  is_created = true
end

-- Records what a total has passed by no operation: see recordMissed in milestone-records.ts.
-- @param n  the least threshold of the metric that is armed
function reached_milestones.record_missed(index, metric, n)
  local post = posts.records[index]
  local total = post_record.compute_total(post, metric)
  if total < n or not milestones.is_decidable(index, metric) then return end
  reached_milestones.create()
  local version, at_ms = post[post_record.VERSION], post[post_record.UPDATED_AT]
  reached_milestones.reach(index, metric, total, version, at_ms, '', '', 0, REACHED_BY_ADD, 0)
end

-- Reads what `write` needs, after recording what the first posts of `to_publish` have passed by no operation. What may fail fails here,
-- before anything is written.
-- @param changed_count  how many posts have changed, and have their new versions
-- @return whether a milestone was reached
function reached_milestones.prepare(changed_count)
  local least = milestones.least
  for i = 1, changed_count do
    local index = posts.to_publish[i]
    for metric, n in pairs(least[index] or {}) do reached_milestones.record_missed(index, metric, n) end
  end
  return is_created and reached_milestones.read_changed()
end

return reached_milestones
