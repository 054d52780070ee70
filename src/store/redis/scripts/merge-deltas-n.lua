#!lua
-- Merges what other regions tell, part by part of their shipments, each whole or not at all; a second time it changes nothing. The
-- meaning is that of merge-delta.ts. Of each part all is read and worked out before its first write.
--
-- KEYS[i]  tc:{b}    the hash of part i's bucket; derived from it: all other keys of the bucket
-- ARGV[1]  run id of the server
-- ARGV[2]  for a life that begins: its nonce, a blank, and the wall time (ms since 1970)
-- ARGV[3]  least ms between two announcements of a post
-- ARGV[4]  number of metrics
-- ARGV[5]  1 if slots may move (a cluster), else 0
-- ARGV[6]  number of the own region
-- ARGV[7]  its name
-- ARGV[7 + i]  part i, as msgpack values one after the other: how many come after this; name of the source, its epoch, nonce, and the
--          stamp when that life was born; of the shipment, with its last part only: after, upTo, confirmed; its floor if it says who
--          are members or shows all, else 0; epoch and nonce of the life that was shown all, or 0 and 0; number of the source; how many posts, lives, entries, toggles, and
--          lives that it goes on from;
--          names of the posts, their hashes, times of their last change (ms); for each life: region, epoch, nonce; for each entry:
--          place of its post, metric, place of its life, P, N; for each toggle: place of its post, metric, the actor's key in
--          decimal, stamp, 1 if it is on else 0, how it is known: 0 from a register, 1 from members, 2 from members of a quiet post; epochs and nonces of the lives that it goes on
--          from. Places are counted from 1; entries and toggles stand in the order of their posts
-- Returns  for each part a string: "-" and what was wrong; or msgpack values one after the other: 1 if it was refused else 0;
--          epoch, nonce, upTo as they are known of the source, or if refused the life of it that was heard of; own epoch, nonce, 1 if being filled else 0,
--          1 if the source has told this life all it knew else 0, own floor;
--          1 + ms until something is due (0: nothing); number of posts that have changed, for each: its place, version, ms of its last
--          change, viewers, total of each metric; number of toggles that have changed, for each: its place, 1 if it is on else 0
-- include post-record
-- include incarnation
-- include replication-state
-- include version-vector
-- include publish
-- include chunk-growth
-- include msgpack
-- include toggle-log
-- include registers
-- include spill-toggle-log
-- include posts
-- include toggles
-- include remote-entries
local interval, metrics, own_name = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[7]
slots_move, region = ARGV[5] == '1', tonumber(ARGV[6])
-- include merge-delta

local function grow_all(posts_new)
  moves = {}
  if posts_new > 0 then grow_posts(posts_new) end
  for i = at.toggles + 1, at.toggles + 6 * count.toggles, 6 do grow_set(posts[values[i]], values[i + 1], names[values[i]]) end
end

-- Members that are added are written before others are removed: see commit-batches-n.lua.
local function write_toggles(marks)
  for on = 1, 0, -1 do
    for number, mark in ipairs(marks) do
      local i = at.toggles + 6 * (number - 1)
      if is[mark] == on and was[mark] ~= on then
        was[mark] = on
        call(on == 1 and 'SADD' or 'SREM', member_key(values[i + 1], values[i + 2], values[i + 3]), values[i + 3])
      end
    end
  end
end

local function write_heard(marks)
  local last, words, group, same = 0, 0, nil, nil
  for number, mark in ipairs(marks) do
    local stamp = put_stamps[mark]
    if stamp then
      local i = at.toggles + 6 * (number - 1)
      local place, metric = values[i + 1], values[i + 2]
      local of = place .. ' ' .. metric .. ' ' .. text_of(stamp)
      if of ~= same then
        scratch[last + 1], scratch[last + 2], scratch[last + 3], scratch[last + 4] = names[place], metric, stamp, 0
        group, last, same = last + 4, last + 4, of
      end
      last, words, put_stamps[mark] = last + 1, words + 1, nil
      scratch[last], scratch[group] = values[i + 3], scratch[group] + 1
    end
  end
  if words == 0 then return end
  heard_written, words_changed = heard_written + words, true
  write_words(heard_key(), clock, heard_written, scratch, last)
end

local function pairs_of(stamps)
  local list, last = {}, 0
  for mark, stamp in pairs(stamps) do
    list[last + 1], list[last + 2] = text_of(stamp), mark
    last = last + 2
  end
  return list, last
end

local function was_told()
  return string.find(',' .. told_by .. ',', ',' .. source.name .. ',', 1, true) ~= nil
end

-- What is here of the source from now on. Of a new life that is nothing before a scan has ended.
local function note(same)
  local of = known_of(known, source.name)
  local whole = source.shown_epoch > 0 and order_of(source.shown_epoch, source.shown_nonce, epoch, nonce) == SAME
  if whole and not was_told() then
    told_by = told_by == '' and source.name or told_by .. ',' .. source.name
    regional_changed = true
  end
  -- All that the source was certain of when the scan began is here now.
  if whole and source.floor > settled then settled, regional_changed = source.floor, true end
  if not whole and not same then return end
  local reaches = (whole or source.after <= of.up_to) and source.up_to or 0
  if same then reaches = math.max(reaches, of.up_to) end
  local confirmed_now = math.max(of.confirmed, source.confirmed)
  -- A life whose clock came back from ahead is not confirmed by what others had of the one before.
  if not same then confirmed_now = min(confirmed_now, reaches) end
  if same and reaches == of.up_to and confirmed_now == of.confirmed then return end
  of.epoch, of.nonce, of.up_to, of.confirmed = source.epoch, source.nonce, reaches, confirmed_now
  known[source.name], known_new = of, true
end

local function receipt_of(refused)
  local of = known_of(known, source.name)
  local of_epoch, of_nonce = of.epoch, of.nonce
  if refused == 1 then of_epoch, of_nonce = of.heard_epoch, of.heard_nonce end
  return { refused, of_epoch, of_nonce, of.up_to, epoch, nonce, filling, was_told() and 1 or 0, settled }, 9
end

local function answer_of(found, toggled, toggled_last, due_ms)
  local list, last = receipt_of(0)
  list[last + 1], list[last + 2] = due_ms + 1, found
  last = last + 2
  for i = 1, found do
    local place = asked[i]
    local post = posts[place]
    list[last + 1], list[last + 2], list[last + 3], list[last + 4] = place, post[VERSION], post[AT], tonumber(viewers[place])
    for metric = 0, metrics - 1 do list[last + 5 + metric] = total(post, metric) end
    last = last + 4 + metrics
  end
  last = last + 1
  list[last] = toggled_last / 2
  for i = 1, toggled_last do list[last + i] = toggled[i] end
  return joined(pack, list, last + toggled_last)
end

local function merge(same)
  local pace, due = bucket .. ':t', bucket .. ':d'
  retold, known_new = {}, hear(known, source.name, source.epoch, source.nonce)
  read_named_posts(PART_VALUES)
  local news_known = call('ZCARD', news_key())
  if source.floor > settled then saw(source.floor) end
  local marks = read_toggles()
  local toggled, toggled_last = merge_all(marks)
  for place = 1, posts_count do
    if changed[place] == 1 then posts[place][AT] = math.max(posts[place][AT], values[at.times + place]) end
  end
  local found, posts_new = count_changed(0)
  grow_all(posts_new)
  local to_move = count.toggles > 0 and registers.plan_move(heard_key(), heard_written - heard_removed, count.toggles)
  local watching = look(found, pace)
  local due_ms = due_in(due)
  all_here()

  -- Writes: see commit-batches-n.lua.
  move_entries()
  write_posts(found)
  if to_move then
    registers.move(to_move)
    heard_removed, words_changed = to_move.removed, true
  end
  write_heard(marks)
  local list, last = pairs_of(retold)
  add_news(list, last, news_known)
  write_toggles(marks)
  if posts_new > 0 then call('HSET', bucket, 's', pack(posts_known, post_chunks, unpack(state_rest))) end
  write_lives()
  note(same)
  if known_new then write_known(known) end
  write_life()
  write_regions()
  if watching > 0 then
    announce(watching, epoch, nonce, pace, due, interval, metrics)
    due_ms = due_in(due)
  end
  return answer_of(found, toggled, toggled_last, due_ms)
end

-- Whether the source goes on from the life that is known of it.
local function continues(of)
  for i = at.goes_on + 1, at.goes_on + 2 * count.goes_on, 2 do
    if order_of(values[i], values[i + 1], of.epoch, of.nonce) == SAME then return true end
  end
  return false
end

local function merge_part(packed)
  take_part(packed)
  touched = slots_move and { bucket .. ':t', bucket .. ':d', bucket .. ':l', news_key(), given_key(), heard_key() } or touched
  local state_packed, known_packed = open_bucket('y')
  local state = { state_of(state_packed) }
  posts_known, post_chunks, state_rest = state[1], state[2], { unpack(state, 3) }
  known = unpack_known(known_packed)
  read_lives()
  local of = known_of(known, source.name)
  local same = order_of(source.epoch, source.nonce, of.epoch, of.nonce) == SAME
  local heard = order_of(source.epoch, source.nonce, of.heard_epoch, of.heard_nonce)
  if heard ~= OLDER and heard ~= CLASH and (same or continues(of) or source.born >= of.up_to) then return merge(same) end
  all_here()
  write_life()
  write_regions()
  local list, last = receipt_of(1)
  return pack(unpack(list, 1, last))
end

local answers = {}
for i, key in ipairs(KEYS) do
  bucket = key
  local done, answer = pcall(merge_part, ARGV[7 + i])
  if not done then answer = '-' .. (type(answer) == 'table' and answer.err or tostring(answer)) end
  answers[i] = answer
end
return answers
