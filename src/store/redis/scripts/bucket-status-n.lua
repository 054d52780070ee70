#!lua flags=allow-oom
-- How buckets stand to other regions.
--
-- KEYS[i]  tc:{b}    the bucket's hash
-- ARGV[1]  run id of the server
-- ARGV[2]  for a life that begins: its nonce, a blank, and the wall time (ms since 1970)
-- ARGV[3]  number of the own region
-- Returns  for each bucket msgpack values one after the other: epoch, nonce, clock, born, found, confirmed, floor, 1 if it is being
--          filled else 0, names of the regions that have told all, with a comma between them; how many lives it goes on from,
--          epoch and nonce of each
-- include post-record
-- include incarnation
-- include replication-state
region = tonumber(ARGV[3])
local answers = {}
for i, key in ipairs(KEYS) do
  bucket = key
  open_bucket()
  write_life()
  if regional_changed then write_regions() end
  answers[i] = pack(epoch, nonce, clock, born, found, confirmed, settled, filling, told_by, #goes_on / 2, unpack(goes_on))
end
return answers
