-- What the batch at hand has changed, for other regions: posts that it has counted on, and toggles.

-- By place: whether the batch has counted on the post; by member: whether it has said something of its toggle; and how often it
-- has done either
local counted, counts, toggled, toggles = {}, 0, {}, 0
-- How many marks the feed has
local news_known

local function begin_marks()
  counted, counts, toggled, toggles = {}, 0, {}, 0
end

-- What may fail fails here, before anything is written.
local function look_at_feed()
  if counts > 0 then news_known = call('ZCARD', touch(news_key())) end
  if toggles > 0 then call('ZCARD', touch(given_key())) end
end

local function write_counted(stamp)
  local list, last = {}, 0
  for place = 1, posts_count do
    if counted[place] then
      list[last + 1], list[last + 2] = stamp, names[place]
      last = last + 2
    end
  end
  add_news(list, last, news_known)
end

local function write_toggled(stamp)
  local list, last, first = {}, 0, 0
  for i = sets + 1, sets + 3 * sets_count, 3 do
    local prefix, many = mark_of(names[values[i]], values[i + 1], ''), values[i + 2]
    for member = first + 1, first + many do
      if toggled[member] then
        list[last + 1], list[last + 2] = stamp, prefix .. values[members + member]
        last = last + 2
      end
    end
    first = first + many
  end
  add_marks(given_key(), list, last)
end

local function write_feed(stamp)
  if counts > 0 then write_counted(text_of(stamp)) end
  if toggles > 0 then write_toggled(text_of(stamp)) end
end
