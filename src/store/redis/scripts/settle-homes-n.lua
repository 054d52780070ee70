#!lua
-- Does what no operation may come to do for milestones that several regions share: claims homes, records what was passed, releases homes,
-- and marks records that no failover can lose any more. The meaning is that of `settle` in milestone-homes.ts.
--
-- KEYS[i]  tc:{b}    the bucket's hash; derived from it: milestones, their records, homes, chunks of posts, change feed
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of an incarnation that starts, a blank, wall time (ms since 1970)
-- ARGV[3]  number of this region
-- ARGV[4]  names of this region and of all others, with commas between them
-- Returns  for each bucket 1
-- @include bucket keys server-time post-record posts changed-posts milestones
-- @include reached-milestones merge-milestones homes home-decisions home-changes
-- @constants FIELD_CHANGED_POSTS KEY_VIEWERS MILESTONE_FINAL_MS
local call = redis.call
bucket.own_region = tonumber(ARGV[3])
local final_up_to_ms = server_time.now_ms() - MILESTONE_FINAL_MS

local function settle_metric(index, metric)
  local post = posts.records[index]
  local total = post_record.compute_total(post, metric)
  home_decisions.release_if_over(index, metric, total)
  home_decisions.claim_from(index, metric, total)
  local least = milestones.least[index] and milestones.least[index][metric]
  if least then reached_milestones.record_missed(index, metric, least) end
  if merge_milestones.finalize(index, metric, final_up_to_ms) then home_changes.record(index) end
end

local function settle(key)
  bucket.reset(key)
  keys.track_key(bucket.key .. KEY_VIEWERS)
  milestones.open(home_changes.open(ARGV[4]))
  home_decisions.open(false)
  if not homes.has_any then return end
  merge_milestones.create()
  changed_posts.open(call('HGET', bucket.key, FIELD_CHANGED_POSTS))
  local names = {}
  for i, entry in ipairs(homes.read_all()) do names[i] = entry[1] end
  local count = posts.read_named(names)
  milestones.read(count)
  homes.read(count)
  for index, by_metric in pairs(homes.states) do
    for metric in pairs(by_metric) do settle_metric(index, metric) end
  end
  local has_news = reached_milestones.read_changed()
  home_changes.prepare()
  keys.assert_slot_local()
  if has_news then reached_milestones.write() end
  home_changes.write()
  if has_news then reached_milestones.publish_all() end
end

local replies = {}
for i, key in ipairs(KEYS) do
  settle(key)
  replies[i] = 1
end
return replies
