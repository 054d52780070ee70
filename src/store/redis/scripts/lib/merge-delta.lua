-- What a part of a shipment says, worked out on the current posts, which are written afterwards: the meaning is that of merge-delta.ts.
-- The layout of a part is described where it is given: merge-deltas-n.lua. `own_name` is the own region.

local PART_VALUES = 17
-- How a toggle is known
local OF_MEMBERS, OF_QUIET_MEMBERS = 1, 2

-- The current part: what the source says of itself, and after which of the values stands how many of what
local source, at, count = {}, {}, {}
-- The state of the bucket besides posts and their chunks; and what is here of each other region
local state_rest, known, known_new
-- Marks of posts that are to be told again, and of toggles: their stamps. What was put: by mark, whether it is on
local retold, stamp_in, was, is, put_stamps

local function take_part(packed)
  values = values_of(packed)
  source.name, source.epoch, source.nonce, source.born = values[2], values[3], values[4], values[5]
  source.after, source.up_to, source.confirmed, source.floor = values[6], values[7], values[8], values[9]
  source.shown_epoch, source.shown_nonce = values[10], values[11]
  source.number = values[12]
  posts_count, count.entries, count.toggles, count.goes_on = values[13], values[15], values[16], values[17]
  at.times = PART_VALUES + 2 * posts_count
  at.lives = at.times + posts_count
  at.entries = at.lives + 3 * values[14]
  at.toggles = at.entries + 5 * count.entries
  at.goes_on = at.toggles + 6 * count.toggles
end

-- What others know of the own region's count: nothing new, unless this store has lost something.
local function merge_own(place, metric, told, p, n)
  local post, tag = posts[place], 4 * metric
  local own_p, own_n = part(post, tag + P), part(post, tag + N)
  if order_of(told.epoch, told.nonce, epoch, nonce) ~= OLDER or (p == own_p and n == own_n) then return end
  if filling == 1 then own_p, own_n = math.max(p, own_p), math.max(n, own_n) end
  set_part(post, tag + P, own_p)
  if own_n > 0 then set_part(post, tag + N, own_n) end
  changed[place] = 1
  -- They are to hear what counts now, also where that is nothing.
  retold[names[place]] = next_stamp(0)
end

-- @param i  before which of the values the entry stands
local function merge_told_entry(i)
  local place, metric, life, p, n = values[i + 1], values[i + 2], at.lives + 3 * values[i + 3], values[i + 4], values[i + 5]
  local told = { name = values[life - 2], epoch = values[life - 1], nonce = values[life] }
  if told.name == own_name then return merge_own(place, metric, told, p, n) end
  if not has_room_for(known, told.name) then return end
  -- What a life has counted that is over, and of which its region has told all that is left, is left out here, too.
  local of = known_of(known, told.name)
  local order = order_of(told.epoch, told.nonce, of.heard_epoch, of.heard_nonce)
  if order == OLDER or order == CLASH then return end
  known_new = hear(known, told.name, told.epoch, told.nonce) or known_new
  if merge_entry(posts[place], metric, told, p, n) then changed[place] = 1 end
end

local function read_toggles()
  local marks, sets, actors, least = {}, {}, {}, math.huge
  stamp_in, was, is, put_stamps = {}, {}, {}, {}
  for i = at.toggles + 1, at.toggles + 6 * count.toggles, 6 do
    local place, metric, actor, stamp = values[i], values[i + 1], values[i + 2], values[i + 3]
    local set = set_of(names[place], metric)
    local mark = set .. ' ' .. actor
    marks[#marks + 1], sets[#sets + 1], actors[#actors + 1] = mark, set, actor
    least = min(least, values[i + 5] == OF_QUIET_MEMBERS and 0 or stamp)
    if was[mark] == nil then was[mark] = call('SISMEMBER', touch(member_key(place, metric, actor)), actor) end
    is[mark] = was[mark]
  end
  for i, stamp in ipairs(registers.stamps_of(sets, actors, math.max(least, settled + 1))) do stamp_in[marks[i]] = stamp end
  return marks
end

local function put_member(place, metric, mark, on)
  local tag = 4 * metric + MEMBERS
  is[mark] = on
  set_part(posts[place], tag, part(posts[place], tag) + 2 * on - 1)
  changed[place] = 1
end

-- @return whether it has changed
local function merge_quiet_toggle(place, metric, mark, since)
  if is[mark] == 1 or stamp_in[mark] > settled or posts[place][AT] >= SINCE + floor(since / (COUNTER * REGIONS)) then return false end
  put_member(place, metric, mark, 1)
  return true
end

-- @return whether it has changed
local function merge_toggle(i, mark)
  local place, metric, stamp, on, of_members = values[i + 1], values[i + 2], values[i + 4], values[i + 5], values[i + 6] == OF_MEMBERS
  if values[i + 6] == OF_QUIET_MEMBERS then return merge_quiet_toggle(place, metric, mark, stamp) end
  if not of_members then saw(stamp) end
  local last = math.max(stamp_in[mark], settled)
  -- A life whose clock was set back may give a stamp that one before it gave, and that was lost: of such words `on` wins.
  local is_again = not of_members and stamp == last and stamp > settled and on == 1 and is[mark] == 0
  if (stamp <= last and not is_again) or (of_members and is[mark] == on) then return false end
  stamp_in[mark], put_stamps[mark] = stamp, stamp
  local is_new = is[mark] ~= on
  if is_new then put_member(place, metric, mark, on) end
  -- Who said it may have lost it before all were told, and may have been told by all without it: it is passed on as if it were new.
  if not of_members and stamp % REGIONS ~= source.number then retold[mark] = next_stamp(0) end
  return is_new
end

-- Post by post. @return the toggles that have changed, as they are told
local function merge_all(marks)
  local list, last, entry, toggle = {}, 0, 0, 0
  for place = 1, posts_count do
    while entry < count.entries and values[at.entries + 5 * entry + 1] == place do
      merge_told_entry(at.entries + 5 * entry)
      entry = entry + 1
    end
    while toggle < count.toggles and values[at.toggles + 6 * toggle + 1] == place do
      local i = at.toggles + 6 * toggle
      toggle = toggle + 1
      if merge_toggle(i, marks[toggle]) then
        list[last + 1], list[last + 2] = toggle, values[i + 5]
        last = last + 2
      end
    end
  end
  return list, last
end
