#!lua flags=no-writes
-- Reads the milestones of a metric of a post.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: milestones, their records, homes
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of an incarnation that starts, a blank, wall time (ms since 1970)
-- ARGV[3]  number of this region, -1 without others
-- ARGV[4]  names of this region and of all others, with commas between them
-- ARGV[5]  the post
-- ARGV[6]  its metric
-- Returns  msgpack values: time of the server (ms since 1970); how many are armed, these; region (empty: there is none), number and mode of
--          the home; how many regions have not confirmed it, these; and the records: see lib/milestone-records.lua
-- @include bucket keys server-time posts milestones milestone-records
-- @include homes home-decisions home-changes
-- @constants HOME_RELEASED KEY_MILESTONES
local call, pack = redis.call, cmsgpack.pack
local name, metric = ARGV[5], tonumber(ARGV[6])
bucket.own_region = tonumber(ARGV[3])
local field = home_changes.open(ARGV[4])
local armed, records, home, waiting_for = {}, '', nil, {}
if field then
  milestones.open(field)
  milestone_records.create()
  local state = milestones.unpack_states(call('HGET', keys.track_key(bucket.key .. KEY_MILESTONES), name))[metric]
  armed = state and state.armed or {}
  if state and state.record_count > 0 then records = milestone_records.read(name, metric) end
  home_decisions.open(false)
  if homes.has_any then
    posts.names[1] = name
    homes.read(1)
    home = homes.find(1, metric)
    if home then waiting_for = home_decisions.list_unconfirmed(home) end
  end
end
keys.assert_slot_local()
home = home or { region = '', number = 0, mode = HOME_RELEASED }
local list = { home.region, home.number, home.mode, #waiting_for, unpack(waiting_for) }
return pack(server_time.now_ms(), #armed, unpack(armed)) .. pack(unpack(list)) .. records
