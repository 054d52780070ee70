#!lua
-- Compares what posts of a bucket count with the members that they have, and makes them count these; the meaning is that of
-- check-members.ts. It reads all before its first write, because Redis does not undo what a script wrote before it failed.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: all other keys of the bucket
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of an incarnation that starts, a blank, wall time (ms since 1970)
-- ARGV[3]  ms between two publications of a post, at least
-- ARGV[4]  kinds of the metrics, a letter each: s (with a set of actors) or c (a count)
-- ARGV[5]  number of this region, -1 without replication
-- ARGV[6]  1 if posts are made to count the members that they have, else 0
-- ARGV[7]  the posts, each once, JSON array
-- ARGV[8]  names of this region and of all others, with commas between them
-- Returns  {index of a post from 1, metric, the members that it counted, the members that it has, the next index …}
-- @include bucket keys incarnation replication-state post-record chunk-growth posts publish changed-posts milestones reached-milestones homes
-- @include home-decisions
-- @constants KIND_WITH_MEMBERS TAG_MEMBERS TAGS_PER_METRIC FIELD_CHANGED_POSTS FIELD_MILESTONES KEY_PUBLISH_AFTER KEY_PUBLISH_DUE KEY_VIEWERS
local call, sub = redis.call, string.sub
local kinds = ARGV[4]
local names, records = posts.names, posts.records
local publish_after, publish_due = bucket.key .. KEY_PUBLISH_AFTER, bucket.key .. KEY_PUBLISH_DUE
publish.configure(tonumber(ARGV[3]), #kinds)
bucket.own_region = tonumber(ARGV[5])
homes.configure(ARGV[8], nil)
for _, key in ipairs({ publish_after, publish_due, bucket.key .. KEY_VIEWERS }) do keys.track_key(key) end

local function count_members(index, metric)
  local prefix, count = keys.members_prefix(metric, names[index]), 0
  for chunk = 0, post_record.member_chunks(records[index], metric) - 1 do
    count = count + call('SCARD', keys.track_key(prefix .. chunk))
  end
  return count
end

-- @return index, metric, counted members, members, the next index …
local function find_drift(post_count)
  local drift = {}
  for index = 1, post_count do
    for metric = 0, #kinds - 1 do
      if sub(kinds, metric + 1, metric + 1) == KIND_WITH_MEMBERS then
        local counted = post_record.get_field(records[index], TAGS_PER_METRIC * metric + TAG_MEMBERS)
        local count, last = count_members(index, metric), #drift
        if count ~= counted then drift[last + 1], drift[last + 2], drift[last + 3], drift[last + 4] = index, metric, counted, count end
      end
    end
  end
  return drift
end

local function change_posts(drift)
  for i = 1, #drift, 4 do
    local index, metric, counted, count = drift[i], drift[i + 1], drift[i + 2], drift[i + 3]
    local post = records[index]
    local total = bucket.is_recording and post_record.compute_total(post, metric)
    post_record.set_field(post, TAGS_PER_METRIC * metric + TAG_MEMBERS, count)
    if total then changed_posts.move_sum(post, metric, total, count - counted) end
    posts.is_changed[index] = 1
  end
end

-- See commit-batches-n.lua.
local function repair(drift, post_count)
  change_posts(drift)
  local changed_count, new_posts = posts.count_changed(0)
  if new_posts > 0 then posts.grow(new_posts) end
  local has_news = false
  if milestones.has_any then
    milestones.read(post_count)
    if homes.has_any then homes.read(post_count) end
    has_news = milestones.is_armed and reached_milestones.prepare(changed_count)
  end
  local has_home_news = homes.has_any and homes.prepare()
  local watched_count = publish.filter_watched(changed_count, publish_after)
  keys.assert_slot_local()
  if bucket.is_recording then changed_posts.record(changed_count) end
  chunk_growth.write()
  posts.write(changed_count)
  if has_news then reached_milestones.write() end
  if has_home_news then homes.write() end
  if new_posts > 0 then bucket.write_sizes() end
  incarnation.write()
  if bucket.own_region >= 0 then replication_state.write() end
  publish.publish_watched(watched_count, publish_after, publish_due)
  if has_news then reached_milestones.publish(watched_count) end
end

local sizes, packed_state, milestones_field = replication_state.open_clock(FIELD_CHANGED_POSTS, FIELD_MILESTONES)
bucket.set_sizes(sizes)
changed_posts.open(packed_state)
milestones.open(milestones_field)
home_decisions.open(false)
local post_count = posts.read_named(cjson.decode(ARGV[7]))
local drift = find_drift(post_count)
if ARGV[6] == '1' and #drift > 0 then repair(drift, post_count) else keys.assert_slot_local() end
return drift
