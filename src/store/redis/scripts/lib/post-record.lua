-- What scripts share: how a bucket's posts are found and read. A script is run for every few operations, and most of its time
-- is Lua's own. So tables are made once a call and filled again, because growing one costs more than reading a post's record; and
-- numbers go to redis.call as they are, which prints integers exactly.

local call, unpack, min = redis.call, unpack, math.min
local floor, byte = math.floor, string.byte
local pack, unpack_values = cmsgpack.pack, cmsgpack.unpack_limit
-- C has room for 8000 values on its stack, and some commands take two for each.
local AT_ONCE = 3000
-- The current bucket, "tc:{bucket}": prefix of all its keys.
local bucket = KEYS[1]
-- Whether keys may be on their way to another server; and those that this script has looked at.
local slots_move, touched = true, {}
-- The current posts, by place: names, keys of their chunks, viewers (as Redis tells them) and records.
local names, post_keys, viewers, posts = {}, {}, {}, {}

-- Parts of a metric in a post's record; a part's tag is 4 * metric + part, and TAGS more for each life of another region before
-- its own in the bucket's list of them: these have P, always, and N.
local MEMBERS, MORE_CHUNKS, P, N, TAGS = 0, 1, 2, 3, 64
-- More than enough for the parts of 16 metrics of 60 regions; C has room for twice as many.
local RECORD_VALUES_MAX = 4000
local COUNT_MAX = 9007199254740991
-- 2024-01-01, in milliseconds since 1970
local SINCE = 1704067200000

local function now_ms()
  local time = call('TIME')
  return time[1] * 1000 + floor(time[2] / 1000)
end

-- Linear hashing (Litwin, VLDB 1980): finds the chunk of a hash among `chunks`, which grow one by one. `size` is the power of
-- two at or above their number.
local function size_of(chunks)
  local size = 1
  while size < chunks do size = size * 2 end
  return size
end

local function chunk_of(hash, chunks, size)
  local chunk = hash % size
  if chunk >= chunks then return chunk - size / 2 end
  return chunk
end

-- The same as in batch-packer.ts, which sends it with a batch. Products stay below 2^53, where doubles are exact.
local function hash_of_post(post)
  local hash = 0
  for i = 1, #post do hash = (hash * 1664525 + byte(post, i)) % 4294967296 end
  return floor(hash * 1664525 % 4294967296 / 4096)
end

-- Of keys of actors and sessions, in decimal: the last nine digits, mixed because numbers of actors are often alike in their low
-- digits and bits. The same as there.
local function hash_of_key(key)
  return floor(math.abs(tonumber(string.sub(key, -9))) * 1664525 % 4294967296 / 4096)
end

-- A chunk's key is one of these and its number.
local function posts_prefix()
  return bucket .. ':p'
end

local function marks_prefix(generation)
  return bucket .. ':m' .. generation .. ':'
end

local function members_prefix(metric, post)
  return bucket .. ':a' .. metric .. ':' .. post .. ':'
end

-- What the field s of the bucket's hash holds: posts, their chunks; generation of marks, its start (ms), marks in it, their
-- chunks, chunks of the generation before (0: it has no marks); start of the day of fences (ms, 0: none has begun).
local function state_of(packed)
  if not packed then return 0, 1, 1, 0, 0, 1, 0, 0 end
  return cmsgpack.unpack(packed)
end

-- A record is 5 bytes of milliseconds since 2024 (they last until 2058), then msgpack integers: version, and a tag and a value for
-- each part that was ever more than 0. Here: a list of the time of the last change (ms since 1970), and these.
local AT, VERSION, FIRST_PART = 1, 2, 3

local function decode(record)
  if not record then return { 0, 0 } end
  local post = { unpack_values(record, RECORD_VALUES_MAX, 5) }
  post[AT] = SINCE + struct.unpack('>I5', record)
  return post
end

local function encode(post)
  return struct.pack('>I5', math.max(post[AT] - SINCE, 0)) .. pack(unpack(post, VERSION))
end

local function part(post, tag)
  for i = FIRST_PART, #post, 2 do
    if post[i] == tag then return post[i + 1] end
  end
  return 0
end

local function set_part(post, tag, value)
  local last = #post
  for i = FIRST_PART, last, 2 do
    if post[i] == tag then
      post[i + 1] = value
      return
    end
  end
  post[last + 1], post[last + 2] = tag, value
end

local function total(post, metric)
  local sum, first_tag = 0, 4 * metric
  for i = FIRST_PART, #post, 2 do
    local which = post[i] - first_tag
    if which == MEMBERS or which == P then
      sum = sum + post[i + 1]
    elseif which == N then
      sum = sum - post[i + 1]
    elseif post[i] >= TAGS then
      which = post[i] % TAGS - first_tag
      if which == P then sum = sum + post[i + 1] elseif which == N then sum = sum - post[i + 1] end
    end
  end
  if sum > COUNT_MAX then return COUNT_MAX end
  return sum
end

-- A key that is elsewhere while its slot moves must not look as if it were not there: an EXISTS of several keys is then
-- refused. All that was looked at is asked for before anything is written, or answered.
-- https://redis.io/docs/latest/commands/cluster-setslot/
local function touch(key)
  if slots_move then touched[#touched + 1] = key end
  return key
end

local function all_here()
  for first = 1, #touched, AT_ONCE do
    call('EXISTS', bucket, unpack(touched, first, min(first + AT_ONCE - 1, #touched)))
  end
  touched = {}
end

-- Calls `take(key of the chunk, from, to, first)` for neighbours that share a chunk; `list[hashes + i]` is the hash of the i-th. What the
-- gateway sends stands in the order of its hashes' bits, the lowest first, in which all of a chunk are neighbours.
local function by_chunk(list, hashes, count, chunks, prefix, take, first)
  local size, from = size_of(chunks), 1
  while from <= count do
    local chunk, to = chunk_of(list[hashes + from], chunks, size), from
    while to < count and to - from < AT_ONCE - 1 and chunk_of(list[hashes + to + 1], chunks, size) == chunk do to = to + 1 end
    -- Lua prints a number slowly.
    local key = chunk == 0 and prefix .. '0' or prefix .. chunk
    if slots_move then touch(key) end
    take(key, from, to, first)
    from = to + 1
  end
end

-- Makes them the current posts: `list[at + i]` is the name of the i-th, `list[hashes + i]` its hash. With their viewers.
local function read_posts(list, at, hashes, count, chunks)
  by_chunk(list, hashes, count, chunks, posts_prefix(), function(key, from, to)
    local records = call('HMGET', key, unpack(list, at + from, at + to))
    for i = from, to do
      names[i], post_keys[i], posts[i] = list[at + i], key, decode(records[i - from + 1])
    end
  end)
  for first = 1, count, AT_ONCE do
    local last = min(count, first + AT_ONCE - 1)
    local told = call('HMGET', bucket .. ':l', unpack(list, at + first, at + last))
    for i = first, last do viewers[i] = told[i - first + 1] or 0 end
  end
end

-- The same of names alone.
local function read_named(list, chunks)
  local count = #list
  for i = 1, count do list[count + i] = hash_of_post(list[i]) end
  read_posts(list, 0, count, count, chunks)
  return count
end
