-- scripts/lib/post-record.lua: a post's record, as redis-post-record.ts reads it: 5 bytes of ms since 2024, then msgpack integers:
-- the version, and tag and value of each field that was ever above 0.
-- Decoded it is a list: time of the last change (ms since 1970), version, tag, value, the next tag …
-- @constants SINCE_MS COUNT_MAX TAG_MEMBERS TAG_MORE_CHUNKS TAG_P TAG_N TAGS_PER_METRIC TAGS_PER_SLOT
local unpack, max, pack, unpack_values = unpack, math.max, cmsgpack.pack, cmsgpack.unpack_limit
local pack_bytes, unpack_bytes = struct.pack, struct.unpack
-- More than the fields of 16 metrics of 60 regions; C has room for twice as many.
local VALUES_MAX = 4000
local UPDATED_AT, VERSION, FIRST_FIELD = 1, 2, 3

local function decode(record)
  if not record then return { 0, 0 } end
  local post = { unpack_values(record, VALUES_MAX, 5) }
  post[UPDATED_AT] = SINCE_MS + unpack_bytes('>I5', record)
  return post
end

local function encode(post)
  return pack_bytes('>I5', max(post[UPDATED_AT] - SINCE_MS, 0)) .. pack(unpack(post, VERSION))
end

-- @return 0 if the post has no field with this tag
local function get_field(post, tag)
  for i = FIRST_FIELD, #post, 2 do
    if post[i] == tag then return post[i + 1] end
  end
  return 0
end

local function set_field(post, tag, value)
  local last = #post
  for i = FIRST_FIELD, last, 2 do
    if post[i] == tag then
      post[i + 1] = value
      return
    end
  end
  post[last + 1], post[last + 2] = tag, value
end

local function remove_field(post, tag)
  local last = #post
  for i = FIRST_FIELD, last, 2 do
    if post[i] == tag then
      post[i], post[i + 1] = post[last - 1], post[last]
      post[last - 1], post[last] = nil, nil
      return
    end
  end
end

-- Chunks of the set of actors that have the toggle on.
local function member_chunks(post, metric)
  return get_field(post, TAGS_PER_METRIC * metric + TAG_MORE_CHUNKS) + 1
end

local function compute_total(post, metric)
  local sum, first_tag = 0, TAGS_PER_METRIC * metric
  for i = FIRST_FIELD, #post, 2 do
    local field = post[i] - first_tag
    if field == TAG_MEMBERS or field == TAG_P then
      sum = sum + post[i + 1]
    elseif field == TAG_N then
      sum = sum - post[i + 1]
    elseif post[i] >= TAGS_PER_SLOT then
      field = post[i] % TAGS_PER_SLOT - first_tag
      if field == TAG_P then sum = sum + post[i + 1] elseif field == TAG_N then sum = sum - post[i + 1] end
    end
  end
  if sum > COUNT_MAX then return COUNT_MAX end
  return sum
end

return {
  UPDATED_AT = UPDATED_AT, VERSION = VERSION, FIRST_FIELD = FIRST_FIELD,
  decode = decode, encode = encode, get_field = get_field, set_field = set_field, remove_field = remove_field,
  member_chunks = member_chunks, compute_total = compute_total,
}
