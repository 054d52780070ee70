#!lua
-- Arms a milestone of a metric of a post; the meaning is that of `arm` in milestones.ts, and with other regions in milestone-homes.ts.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: milestones, their records, homes, chunks of posts, change feed
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of an incarnation that starts, a blank, wall time (ms since 1970)
-- ARGV[3]  number of this region, -1 without others
-- ARGV[4]  names of this region and of all others, with commas between them
-- ARGV[5]  the post
-- ARGV[6]  its metric
-- ARGV[7]  the total at which the milestone is reached
-- ARGV[8]  mode of the home (home-modes.ts), -1 for none
-- ARGV[9]  total from which other regions forward
-- ARGV[10] 1 if this region is to become the home although another one is, else 0
-- ARGV[11] the other options of each metric's choice: lib/homes.lua
-- Returns  msgpack values, one of
--            0 (armed) or 1 (it was armed already), what is armed now
--            2 (passed), the total
--            3 (it was reached before), 4 (as many are armed as may be), 5 (armed and reached), 6 (armed in the bucket)
--            7 (elsewhere), the region that is the home
--            8 (others of the metric have another mode), this mode
--            9 (choice), the region that is the home of another option of the choice
-- @include bucket keys server-time hybrid-clock post-record posts milestones milestone-records homes
-- @include home-decisions home-changes
-- @constants ARM_ARMED ARM_CHOICE ARM_ELSEWHERE ARM_FULL_ARMED ARM_FULL_BUCKET ARM_FULL_MILESTONES ARM_MODE ARM_PASSED ARM_REACHED ARM_REPEATED
-- @constants ARMED_MAX ARMED_PER_BUCKET_MAX MILESTONES_MAX HOME_ORDER HOME_RELEASED HOME_STRICT
-- @constants KEY_PROVISIONAL_MILESTONES
local call, pack = redis.call, cmsgpack.pack
local name, metric, n = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local mode, from, takes_over = tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10] == '1'
bucket.own_region = tonumber(ARGV[3])
local stamp
local field = home_changes.open(ARGV[4], function() return stamp end, ARGV[11])
if bucket.own_region >= 0 then stamp = hybrid_clock.now(server_time.now_ms()) end
milestones.open(field or pack(0))
milestones.create_writers()
milestone_records.create()
home_decisions.open(true)
posts.names[1] = name
posts.records[1] = post_record.decode(call('HGET', posts.chunk_key(name), name))
if homes.has_any then homes.read(1) end
local total = post_record.compute_total(posts.records[1], metric)
local state = milestones.ensure_state(1, metric)
local armed = state.armed

local function is_elsewhere(one)
  local home = homes.find(1, one)
  return home and home.region ~= '' and home.mode ~= HOME_RELEASED and home.region ~= homes.own_region()
end

-- @return the reply, nil if it can be armed
local function find_home_rejection()
  if not is_elsewhere(metric) then return nil end
  local home = homes.find(1, metric)
  if not takes_over then return pack(ARM_ELSEWHERE, home.region) end
  -- In `order` the other regions would count again, while the former home may still decide.
  if home.mode == HOME_STRICT and mode == HOME_ORDER then return pack(ARM_MODE, HOME_STRICT) end
end

local function find_mode_rejection()
  local home, is_strict = homes.find(1, metric), mode == HOME_STRICT
  local has_starts = home and #home.starts > 0 or false
  if #armed > 0 and is_strict ~= has_starts then return pack(ARM_MODE, is_strict and HOME_ORDER or HOME_STRICT) end
end

-- @return the other options of a choice about which another region decides in `strict`: see listElsewhere in milestone-homes.ts
local function list_elsewhere()
  local list = {}
  if mode ~= HOME_STRICT then return list end
  for _, other in ipairs(homes.other_options(metric)) do
    if is_elsewhere(other) and homes.find(1, other).mode == HOME_STRICT then list[#list + 1] = other end
  end
  return list
end

local function find_choice_rejection(others)
  if others[1] and not takes_over then return pack(ARM_CHOICE, homes.find(1, others[1]).region) end
end

-- @return the reply, nil if it is armed now
local function find_rejection()
  if state.record_count > 0 and milestone_records.has(milestone_records.read(name, metric), n) then return pack(ARM_REACHED) end
  if total >= n then return pack(ARM_PASSED, total) end
  if #armed >= ARMED_MAX then return pack(ARM_FULL_ARMED) end
  if #armed + state.record_count >= MILESTONES_MAX then return pack(ARM_FULL_MILESTONES) end
  local provisional_count = call('ZCARD', keys.track_key(bucket.key .. KEY_PROVISIONAL_MILESTONES))
  if milestones.armed_count + provisional_count >= ARMED_PER_BUCKET_MAX then return pack(ARM_FULL_BUCKET) end
end

local function is_armed(wanted)
  for _, one in ipairs(armed) do
    if one == wanted then return true end
  end
  return false
end

-- After it was armed.
-- @param others  options of the choice that are taken over with it
local function change_home(others)
  local is_taken_over = is_elsewhere(metric)
  local home, starts = homes.ensure(1, metric), {}
  if mode == HOME_STRICT then
    for _, start in ipairs(home.starts) do
      if is_armed(start[1]) then starts[#starts + 1] = start end
    end
    starts[#starts + 1] = { n, from }
  end
  home.starts = starts
  if mode == HOME_STRICT and is_taken_over then
    -- Below its start no operation here would come to claim it, if all are forwarded to the former home.
    home_decisions.set_home(1, metric, HOME_STRICT)
  elseif mode == HOME_STRICT then
    home_decisions.claim_from(1, metric, total)
  elseif home.region ~= homes.own_region() or home.mode ~= HOME_ORDER then
    home_decisions.set_home(1, metric, HOME_ORDER)
  end
  for _, other in ipairs(others) do home_decisions.set_home(1, other, HOME_STRICT) end
end

local has_home = mode >= 0 and bucket.own_region >= 0
local others = has_home and list_elsewhere()
local rejection = has_home and (find_home_rejection() or find_mode_rejection() or find_choice_rejection(others))
local is_repeated = not rejection and is_armed(n)
rejection = rejection or (not is_repeated and find_rejection())
if not rejection and not is_repeated then
  armed[#armed + 1] = n
  table.sort(armed)
  if has_home then change_home(others) end
end
home_changes.prepare()
keys.assert_slot_local()
if rejection then
  home_changes.write()
  return rejection
end
if not is_repeated then
  milestones.write_state(1)
  milestones.change_list(name, metric, armed[1])
end
-- Written even if it was armed already, so that waiting for replicas after this call waits for the one that has armed it.
milestones.write_changed_field(is_repeated and 0 or 1)
home_changes.write()
return pack(is_repeated and ARM_REPEATED or ARM_ARMED, unpack(armed))
