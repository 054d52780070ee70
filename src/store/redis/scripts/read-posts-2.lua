#!lua flags=no-writes
-- Reads posts of a bucket, and which toggles an actor has on.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: the chunks of posts and members that hold what is asked
-- KEYS[2]  tc:{b}:l  viewers of posts
-- ARGV[1]  run id of the server
-- ARGV[2]  kinds of the metrics, a letter each: s (a set of actors: toggle) or c (tally)
-- ARGV[3]  the actor's key in decimal, or empty
-- ARGV[4]  the posts, as a JSON array
-- Returns  {1 if the bucket knows this life of the server else 0, epoch, nonce,
--           for each post: version, ms of its last change, viewers, bits of toggles that are on, total of each metric}
-- include post-record
local run, kinds, actor = ARGV[1], ARGV[2], ARGV[3]
local metrics = #kinds
local epoch, nonce, known, state = unpack(call('HMGET', bucket, 'e', 'o', 'r', 's'))
local _, chunks = state_of(state)
local count = read_named(cjson.decode(ARGV[4]), chunks)

local function toggles_of(place)
  local on, post = 0, posts[place]
  for metric = 0, metrics - 1 do
    if byte(kinds, metric + 1) == 115 and part(post, 4 * metric + MEMBERS) > 0 then
      local members = part(post, 4 * metric + MORE_CHUNKS) + 1
      local chunk = chunk_of(hash_of_key(actor), members, size_of(members))
      if call('SISMEMBER', touch(members_prefix(metric, names[place]) .. chunk), actor) == 1 then on = on + 2 ^ metric end
    end
  end
  return on
end

-- ioredis reads an integer digit by digit as n * 10 + code - 48, and so rounds the last below 2^53: these as text.
local function answered(number)
  if number > COUNT_MAX - 100 then return string.format('%.0f', number) end
  return number
end

local answer, last = { known == run and 1 or 0, tonumber(epoch) or 0, tonumber(nonce) or 0 }, 3
for place = 1, count do
  local post = posts[place]
  answer[last + 1], answer[last + 2], answer[last + 3] = post[VERSION], post[AT], tonumber(viewers[place])
  answer[last + 4] = actor ~= '' and toggles_of(place) or 0
  for metric = 0, metrics - 1 do answer[last + 5 + metric] = answered(total(post, metric)) end
  last = last + 4 + metrics
end
all_here()
return answer
