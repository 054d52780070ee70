#!lua flags=no-writes
-- Reads some of the last words on toggles: a part of those that were given here, or of those that were heard.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: registers, chunks of posts and members
-- ARGV[1]  run id of the server
-- ARGV[2]  r: given here, h: heard
-- ARGV[3]  where to go on: "0" or what was returned before
-- ARGV[4]  about how many
-- ARGV[5]  those above this stamp
-- ARGV[6]  posts whose toggles these are, as a JSON array; empty: all
-- Returns  {where to go on, "0" if that was all; {a post, metric, the actor's key in decimal, stamp, 1 if it is on else 0, the next post
--          …}}
-- include lib-bucket
-- include lib-life
-- include lib-regions
-- include lib-toggles
local least, of_posts, places = tonumber(ARGV[5]), nil, {}
for _, name in ipairs(cjson.decode(ARGV[6])) do
  of_posts = of_posts or {}
  of_posts[name] = true
end
local _, post_chunks = state_of(call('HGET', bucket, 's'))
touch(given_key())
touch(heard_key())
local found = call('ZSCAN', bucket .. ':' .. ARGV[2], ARGV[3], 'COUNT', ARGV[4])
local marks, stamps, list, last = {}, {}, {}, 0
for i = 1, #found[2], 2 do
  local mark, stamp = found[2][i], tonumber(found[2][i + 1])
  if stamp > least and (not of_posts or of_posts[take_apart_mark(mark)]) then
    marks[#marks + 1] = mark
    stamps[#stamps + 1] = stamp
  end
end
for i, stamp in ipairs(stamps_of(marks)) do
  -- Else it is found among the others.
  if stamp == stamps[i] then
    local name, metric, actor = take_apart_mark(marks[i])
    local place = places[name]
    if not place then
      place = #names + 1
      local key = touch(posts_prefix() .. chunk_of(hash_of_post(name), post_chunks, size_of(post_chunks)))
      places[name], names[place], posts[place] = place, name, decode(call('HGET', key, name))
    end
    local on = call('SISMEMBER', touch(member_key(place, metric, actor)), actor)
    list[last + 1], list[last + 2], list[last + 3] = name, metric, actor
    list[last + 4], list[last + 5] = text_of(stamp), on
    last = last + 5
  end
end
all_here()
return { found[1], list }
