-- What the current batch has changed, for other regions: posts that it has counted on, and toggles.

-- By place: whether the batch has counted on the post; by member: whether it has said something of its toggle; and how often it
-- has done either
local counted, counts, toggled, toggles = {}, 0, {}, 0

local begin_marks, look_at_feed, write_feed
do
  -- How many marks the feed has, and what of its log of words has to give way
  local news_known, to_move

  function begin_marks()
    counted, counts, toggled, toggles, to_move = {}, 0, {}, 0, nil
  end

  -- What may fail fails here, before anything is written.
  function look_at_feed()
    if counts > 0 then news_known = call('ZCARD', touch(news_key())) end
    if toggles == 0 then return end
    to_move = registers.plan_move(given_key(), given_written - given_removed, toggles)
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
    local last, first, words = 0, 0, 0
    for i = sets + 1, sets + 3 * sets_count, 3 do
      local many, group = values[i + 2], nil
      for member = first + 1, first + many do
        if toggled[member] then
          if not group then
            scratch[last + 1], scratch[last + 2], scratch[last + 3] = names[values[i]], values[i + 1], 0
            group, last = last + 4, last + 4
          end
          last = last + 1
          scratch[last] = values[members + member]
        end
      end
      if group then
        scratch[group] = last - group
        words = words + last - group
      end
      first = first + many
    end
    given_written = given_written + words
    write_words(given_key(), stamp, given_written, scratch, last)
  end

  function write_feed(stamp)
    if counts > 0 then write_counted(text_of(stamp)) end
    if to_move then
      registers.move(to_move)
      unpack_state()
      given_removed, words_changed, regional_changed = to_move.removed, true, true
      dropped = math.max(dropped, to_move.stamp)
    end
    if toggles > 0 then write_toggled(stamp) end
  end
end
