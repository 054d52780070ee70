#!lua flags=allow-oom
-- Notes that a region has begun other lives: what older ones have sent, and comes late, is refused from now on.
--
-- KEYS[i]  tc:{b}    the bucket's hash
-- ARGV[1]  run id of the server
-- ARGV[2]  for a life that begins: its nonce, a blank, and the wall time (ms since 1970)
-- ARGV[3]  number of the own region
-- ARGV[4]  name of the region
-- ARGV[4 + i]  of bucket i: epoch and nonce of the life, a blank between them
-- Returns  for each bucket 1 if it is the newest that was heard of, and no other of its epoch is; else 0
-- include post-record
-- include incarnation
-- include replication-state
-- include version-vector
region = tonumber(ARGV[3])
local answers = {}
for i, key in ipairs(KEYS) do
  bucket = key
  local _, packed = open_bucket('y')
  local known = unpack_known(packed)
  local epoch_told, nonce_told = string.match(ARGV[4 + i], '^(%d+) (%d+)$')
  epoch_told, nonce_told = tonumber(epoch_told), tonumber(nonce_told)
  local is_news = hear(known, ARGV[4], epoch_told, nonce_told)
  local of = known_of(known, ARGV[4])
  answers[i] = of.heard_epoch == epoch_told and of.heard_nonce == nonce_told and 1 or 0
  if is_news then write_known(known) end
  write_life()
  write_regions()
end
return answers
