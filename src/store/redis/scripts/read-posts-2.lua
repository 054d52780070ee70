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
-- include lib-bucket
local run, kinds, actor = ARGV[1], ARGV[2], ARGV[3]
local names = cjson.decode(ARGV[4])
local metrics = #kinds
local epoch, nonce, known, chunks = unpack(call('HMGET', bucket, 'e', 'o', 'r', 'c'))
local posts = read_posts(names, tonumber(chunks) or 1)

local function toggles_of(name, post)
  local on = 0
  for metric = 0, metrics - 1 do
    if string.byte(kinds, metric + 1) == 115 and part(post, metric, MEMBERS) > 0 then
      local chunk_of = chunks_of(part(post, metric, MORE_CHUNKS) + 1)
      local key = members_key(metric, name, chunk_of(hash_of_key(actor)))
      all_here({ key })
      if call('SISMEMBER', key, actor) == 1 then on = on + 2 ^ metric end
    end
  end
  return on
end

local answer = { known == run and 1 or 0, tonumber(epoch) or 0, tonumber(nonce) or 0 }
for _, name in ipairs(names) do
  local post = posts[name]
  answer[#answer + 1] = post.v
  answer[#answer + 1] = post.at
  answer[#answer + 1] = tonumber(call('HGET', KEYS[2], name) or 0)
  answer[#answer + 1] = actor ~= '' and toggles_of(name, post) or 0
  for metric = 0, metrics - 1 do answer[#answer + 1] = answered(total(post, metric)) end
end
return answer
