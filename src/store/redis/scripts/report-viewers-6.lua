#!lua flags=allow-oom
-- Takes a gateway's viewers of posts under its lease, and changes the numbers of viewers over all gateways. Numbers are absolute, and people
-- are there or not, so that to repeat a report does no harm.
--
-- KEYS[1]  tc:{b}                the bucket's hash; derived from it: chunks of posts, people, those of the gateway
-- KEYS[2]  tc:{b}:viewers        viewers of posts over all gateways
-- KEYS[3]  tc:{b}:publish_after  when posts may be published again
-- KEYS[4]  tc:{b}:publish_due    posts that are due to be published
-- KEYS[5]  tc:{b}:gateways       gateways, by the time when their leases end
-- KEYS[6]  tc:{b}:viewers:{g}    the gateway's viewers of posts that count by their number
-- ARGV[1]  run id of the server
-- ARGV[2]  ms between two publications of a post, at least
-- ARGV[3]  number of metrics
-- ARGV[4]  the gateway
-- ARGV[5]  ms of its lease
-- ARGV[6]  JSON array: a post, its viewers that count by their number, the next post …
-- ARGV[6 + i]  for each post whose people came or left: the post, keys of people who are there, of people who are not
-- Returns  {ms until a post is due (-1: none is), number of posts that the gateway has viewers of, number of its people at posts,
--           these two numbers before the report}
-- @include bucket keys server-time posts publish viewer-changes
-- @constants FIELD_EPOCH FIELD_NONCE FIELD_SIZES PERSON_BYTES
local call, sub = redis.call, string.sub
local publish_after, publish_due, gateways = KEYS[3], KEYS[4], KEYS[5]
publish.configure(tonumber(ARGV[2]), tonumber(ARGV[3]))

local names, numbers, coming, leaving = {}, {}, {}, {}
local report = cjson.decode(ARGV[6])
for i = 1, #report, 2 do
  names[#names + 1], numbers[#numbers + 1] = report[i], report[i + 1]
end

local function add_people(list, post, people)
  for first = 1, #people, PERSON_BYTES do list[#list + 1] = sub(people, first, first + PERSON_BYTES - 1) .. post end
end
for i = 7, #ARGV, 3 do
  add_people(coming, ARGV[i], ARGV[i + 1])
  add_people(leaving, ARGV[i], ARGV[i + 2])
end

for _, key in ipairs(KEYS) do keys.track_key(key) end
local before, after = viewer_changes.plan(ARGV[4], names, numbers, coming, leaving)
local epoch, nonce, sizes = unpack(call('HMGET', bucket.key, FIELD_EPOCH, FIELD_NONCE, FIELD_SIZES))
bucket.epoch, bucket.nonce = tonumber(epoch) or 0, tonumber(nonce) or 0
bucket.set_sizes(sizes)
local changed_count = posts.read_named(viewer_changes.changed)

-- Reads of keys that are only written below: a key of a wrong type fails here, before anything is written.
call('ZCARD', publish_after)
call('ZCARD', publish_due)
keys.assert_slot_local()
call('ZADD', gateways, server_time.now_ms() + tonumber(ARGV[5]), ARGV[4])
viewer_changes.write()
for i = 1, changed_count do
  posts.viewers[i], posts.to_publish[i] = viewer_changes.live[i], i
end
publish.publish_watched(publish.filter_watched(changed_count, publish_after), publish_after, publish_due)
return { publish.next_due_ms(publish_due), after.posts, after.people, before.posts, before.people }
