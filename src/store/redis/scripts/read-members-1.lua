#!lua flags=no-writes
-- Reads chunks of members, and for each member the stamp of its last word.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: chunks of posts and members, registers
-- ARGV[1]  run id of the server
-- ARGV[2]  JSON array: a post, metric, a chunk of its members, how many chunks these have, the next post …
-- Returns  for each chunk: nil if the set has another number of chunks now; or {an actor's key in decimal, its stamp or 0, the next
--          actor …}
-- include lib-bucket
-- include lib-life
-- include lib-regions
local asked = cjson.decode(ARGV[2])
local _, post_chunks = state_of(call('HGET', bucket, 's'))
touch(given_key())
touch(heard_key())
local answer = {}
for i = 1, #asked, 4 do
  local name, metric, chunk, chunks = asked[i], asked[i + 1], asked[i + 2], asked[i + 3]
  local key = touch(posts_prefix() .. chunk_of(hash_of_post(name), post_chunks, size_of(post_chunks)))
  local members, marks, list = false, {}, {}
  if part(decode(call('HGET', key, name)), 4 * metric + MORE_CHUNKS) + 1 == chunks then
    members = call('SMEMBERS', touch(members_prefix(metric, name) .. chunk))
    for j, actor in ipairs(members) do marks[j] = mark_of(name, metric, actor) end
    for j, stamp in ipairs(stamps_of(marks)) do
      list[2 * j - 1], list[2 * j] = members[j], stamp == 0 and '0' or text_of(stamp)
    end
  end
  answer[#answer + 1] = members and list
end
all_here()
return answer
