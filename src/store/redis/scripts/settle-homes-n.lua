#!lua
-- Does what no operation may come to do for milestones that several regions share: claims homes, records what was passed, releases homes,
-- and marks records that no failover can lose any more. The meaning is that of `settle` in milestone-homes.ts. It looks at the posts that may
-- need it, a page a call, and at none whose home is released, or has nothing armed, and whose records are final.
--
-- KEYS[i]  tc:{b}    the bucket's hash; derived from it: milestones, their records, homes, chunks of posts, change feed
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of an incarnation that starts, a blank, wall time (ms since 1970)
-- ARGV[3]  number of this region
-- ARGV[4]  names of this region and of all others, with commas between them
-- ARGV[5]  posts of a bucket at most
-- ARGV[5 + i]  the last post of bucket i that the call before has settled, empty for none
-- Returns  for each bucket the last post of this call, empty if no others follow
-- @include bucket keys server-time post-record posts changed-posts milestones reached-milestones merge-milestones
-- @include homes home-decisions home-changes
-- @constants FIELD_CHANGED_POSTS HOME_STRICT KEY_VIEWERS MILESTONE_FINAL_MS
local call = redis.call
local limit, final_up_to_ms = tonumber(ARGV[5]), server_time.now_ms() - MILESTONE_FINAL_MS
bucket.own_region = tonumber(ARGV[3])

-- @return whether the metric may need settling again: see needsSettling in unsettled-posts.ts
local function settle_metric(index, metric, state)
  local total = post_record.compute_total(posts.records[index], metric)
  home_decisions.release_if_over(index, metric, total)
  home_decisions.claim_from(index, metric, total)
  local least = milestones.least[index] and milestones.least[index][metric]
  if least then reached_milestones.record_missed(index, metric, least) end
  local has_final, has_open = merge_milestones.finalize(index, metric, final_up_to_ms)
  if has_final then home_changes.record(index) end
  local decides = state.region == homes.own_region() and state.mode == HOME_STRICT
  return decides or has_open or milestones.read_state(index, metric).armed[1] ~= nil
end

local function settle_posts(names)
  local count = posts.read_named(names)
  milestones.read(count)
  homes.read(count)
  for index = 1, count do
    local is_unsettled = false
    for metric, state in pairs(homes.states[index] or {}) do is_unsettled = settle_metric(index, metric, state) or is_unsettled end
    if not is_unsettled then homes.note_settled(posts.names[index]) end
  end
end

local function settle(key, after)
  bucket.reset(key)
  keys.track_key(bucket.key .. KEY_VIEWERS)
  milestones.open(home_changes.open(ARGV[4]))
  home_decisions.open(false)
  if not homes.has_any then
    keys.assert_slot_local()
    return ''
  end
  merge_milestones.create()
  changed_posts.open(call('HGET', bucket.key, FIELD_CHANGED_POSTS))
  local names = homes.read_unsettled(after, limit)
  local last = #names == limit and names[limit] or ''
  settle_posts(names)
  local has_news = reached_milestones.read_changed()
  home_changes.prepare()
  keys.assert_slot_local()
  if has_news then reached_milestones.write() end
  home_changes.write()
  if has_news then reached_milestones.publish_all() end
  return last
end

local replies = {}
for i, key in ipairs(KEYS) do replies[i] = settle(key, ARGV[5 + i]) end
return replies
