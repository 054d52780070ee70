#!lua
-- Arms a milestone of a metric of a post; the meaning is that of `arm` in milestones.ts.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: milestones, their records, chunks of posts
-- ARGV[1]  run id of the server
-- ARGV[2]  the post
-- ARGV[3]  its metric
-- ARGV[4]  the total at which the milestone is reached
-- Returns  msgpack values, one of
--            0 (armed) or 1 (it was armed already), what is armed now
--            2 (passed), the total
--            3 (it was reached before), 4 (as many are armed as may be), 5 (armed and reached), 6 (armed in the bucket)
-- @include bucket keys post-record posts milestones
-- @constants ARM_ARMED ARM_FULL_ARMED ARM_FULL_BUCKET ARM_FULL_MILESTONES ARM_PASSED ARM_REACHED ARM_REPEATED
-- @constants ARMED_MAX ARMED_PER_BUCKET_MAX MILESTONES_MAX FIELD_MILESTONES FIELD_SIZES KEY_MILESTONES
-- @constants KEY_PROVISIONAL_MILESTONES
local call, pack = redis.call, cmsgpack.pack
local name, metric, n = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local sizes, field = unpack(call('HMGET', bucket.key, FIELD_SIZES, FIELD_MILESTONES))
bucket.set_sizes(sizes)
milestones.open(field or pack(0))
milestones.create_writers()
local by_metric = milestones.unpack_states(call('HGET', keys.track_key(bucket.key .. KEY_MILESTONES), name))
local state = by_metric[metric] or { record_count = 0, armed = {} }
by_metric[metric] = state
local armed = state.armed

-- @return the reply, nil if it is armed now
local function find_rejection()
  if state.record_count > 0 and milestones.has_record(milestones.read_records(name, metric), n) then return pack(ARM_REACHED) end
  local total = post_record.compute_total(post_record.decode(call('HGET', posts.chunk_key(name), name)), metric)
  if total >= n then return pack(ARM_PASSED, total) end
  if #armed >= ARMED_MAX then return pack(ARM_FULL_ARMED) end
  if #armed + state.record_count >= MILESTONES_MAX then return pack(ARM_FULL_MILESTONES) end
  local provisional_count = call('ZCARD', keys.track_key(bucket.key .. KEY_PROVISIONAL_MILESTONES))
  if milestones.armed_count() + provisional_count >= ARMED_PER_BUCKET_MAX then return pack(ARM_FULL_BUCKET) end
end

local function is_armed()
  for _, one in ipairs(armed) do
    if one == n then return true end
  end
  return false
end

local is_repeated = is_armed()
local rejection = not is_repeated and find_rejection()
keys.assert_slot_local()
if rejection then return rejection end
if not is_repeated then
  armed[#armed + 1] = n
  table.sort(armed)
  call('HSET', bucket.key .. KEY_MILESTONES, name, milestones.pack_states(by_metric))
  milestones.change_list(name, metric, armed[1])
end
-- Written even if it was armed already, so that waiting for replicas after this call waits for the one that has armed it.
milestones.write_changed_field(is_repeated and 0 or 1)
return pack(is_repeated and ARM_REPEATED or ARM_ARMED, unpack(armed))
