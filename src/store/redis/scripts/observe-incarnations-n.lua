#!lua flags=allow-oom
-- Records that a region has started other incarnations: deltas of older ones are rejected from now on, however late they come.
--
-- KEYS[i]  tc:{b}    the bucket's hash
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of an incarnation that starts, a blank, wall time (ms since 1970)
-- ARGV[3]  number of this region
-- ARGV[4]  name of the other region
-- ARGV[4 + i]  of bucket i: epoch and nonce of its incarnation, a blank between them
-- Returns  for each bucket 1 if this is the latest incarnation, and no other has its epoch; else 0
-- @include bucket incarnation replication-state version-vector
-- @constants FIELD_VERSION_VECTOR
bucket.own_region = tonumber(ARGV[3])
local replies = {}
for i, key in ipairs(KEYS) do
  bucket.reset(key)
  local _, packed = replication_state.open(FIELD_VERSION_VECTOR)
  local vector = version_vector.unpack_vector(packed)
  local epoch, nonce = string.match(ARGV[4 + i], '^(%d+) (%d+)$')
  epoch, nonce = tonumber(epoch), tonumber(nonce)
  local has_changed = version_vector.learn_incarnation(vector, ARGV[4], epoch, nonce)
  local entry = version_vector.entry_for(vector, ARGV[4])
  replies[i] = entry.latest_epoch == epoch and entry.latest_nonce == nonce and 1 or 0
  if has_changed then version_vector.write(vector) end
  incarnation.write()
  replication_state.write()
end
return replies
