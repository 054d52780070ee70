#!lua flags=no-writes
-- Reads records of posts: those that are named, or those of a chunk.
--
-- KEYS[1]  tc:{b}    the bucket's hash; derived from it: chunks of posts
-- ARGV[1]  run id of the server
-- ARGV[2]  a chunk, or -1
-- ARGV[3]  names of posts, JSON array
-- ARGV[4]  with other regions: number of this one; else empty
-- ARGV[5]  its name
-- Returns  {1 if the bucket has the server's run id else 0, epoch, nonce,
--           incarnations of other regions by the slot of their entries, msgpack values: region, epoch, nonce, the next region …,
--           number of chunks, 1 if milestones were armed in the bucket else 0, {a post, its record, the next post …},
--           homes of these posts, and with chunk 0 of those without a record, msgpack values: the post, number of
--           its homes, for each what lib/build-homes.lua lists}
-- @include bucket keys posts milestones homes build-homes
-- @constants FIELD_CLOCK FIELD_EPOCH FIELD_INCARNATIONS FIELD_MILESTONES FIELD_NONCE FIELD_REPLICATION FIELD_RUN_ID FIELD_SIZES
-- @constants KEY_POSTS
local call, pack = redis.call, cmsgpack.pack
local chunk, named = tonumber(ARGV[2]), cjson.decode(ARGV[3])
-- In the field `replication`: see lib/replication-state.lua.
local IS_BACKFILLING = 8
local epoch, nonce, run_id, incarnations, sizes, milestones_field, clock, replication = unpack(call('HMGET', bucket.key, FIELD_EPOCH, FIELD_NONCE,
  FIELD_RUN_ID, FIELD_INCARNATIONS, FIELD_SIZES, FIELD_MILESTONES, FIELD_CLOCK, FIELD_REPLICATION))
bucket.set_sizes(sizes)
local records = {}
if chunk >= 0 then records = call('HGETALL', keys.track_key(bucket.key .. KEY_POSTS .. chunk)) end
for _, name in ipairs(named) do
  local record = call('HGET', posts.chunk_key(name), name)
  if record then records[#records + 1], records[#records + 2] = name, record end
end

-- @return those that the reply has
local function read_homes()
  bucket.own_region = tonumber(ARGV[4]) or -1
  milestones.open(milestones_field)
  homes.configure(ARGV[5], nil)
  homes.open()
  if not homes.has_any then return '' end
  bucket.epoch, bucket.nonce, bucket.clock = tonumber(epoch), tonumber(nonce), tonumber(clock)
  bucket.is_backfilling = replication and select(IS_BACKFILLING, cmsgpack.unpack(replication)) or 0
  local packed, is_wanted = {}, {}
  for i = 1, #records, 2 do is_wanted[records[i]] = true end
  for _, name in ipairs(named) do is_wanted[name] = true end
  for _, entry in ipairs(homes.read_all()) do
    local name = entry[1]
    if is_wanted[name] or (chunk == 0 and not call('HGET', posts.chunk_key(name), name)) then
      local some, count = build_homes.pack_homes(0, name, homes.unpack_states(entry[2]), true)
      packed[#packed + 1] = pack(name, count) .. some
    end
  end
  return table.concat(packed)
end

local packed_homes = milestones_field and read_homes() or ''
keys.assert_slot_local()
local is_current = run_id == ARGV[1] and 1 or 0
return {
  is_current, tonumber(epoch) or 0, tonumber(nonce) or 0, incarnations or '', bucket.post_chunks, milestones_field and 1 or 0, records,
  packed_homes,
}
