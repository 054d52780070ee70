#!lua flags=no-writes
-- Reads which region has to do operations whose outcome was ELSEWHERE; the meaning is that of `forwardTo` in milestone-homes.ts.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: homes, forward marks
-- ARGV[1]  run id of the server
-- ARGV[2]  number of this region
-- ARGV[3]  names of this region and of all others, with commas between them
-- ARGV[4]  operations, JSON array: for each an array of its post, metric, the session's key in decimal (empty for none), seq, how many regions
--          have forwarded it, metrics that it puts off
-- Returns  for each operation the name of a region, empty: it has to wait here
-- @include bucket keys posts milestones homes forward-marks
-- @constants FIELD_MILESTONES
bucket.own_region = tonumber(ARGV[2])
milestones.open(redis.call('HGET', bucket.key, FIELD_MILESTONES))
homes.configure(ARGV[3], nil)
homes.open()
local operations, targets = cjson.decode(ARGV[4]), {}
if homes.has_any then
  for i, operation in ipairs(operations) do posts.names[i] = operation[1] end
  homes.read(#operations)
  forward_marks.open()
end
for i, operation in ipairs(operations) do
  targets[i] = homes.has_any and forward_marks.find_target(i, unpack(operation, 2, 6)) or ''
end
keys.assert_slot_local()
return targets
