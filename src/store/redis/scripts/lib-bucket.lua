-- What scripts share: how a bucket's posts are found and read. Prefix of all its keys: KEYS[1], which is "tc:{bucket}".

local call = redis.call
local bucket = KEYS[1]

-- Mean entries of the fullest chunks. Redis packs hashes of up to 128 entries and sets of up to 512 integers
-- (hash-max-listpack-entries, set-max-intset-entries); these are three and four standard deviations below, so that few
-- chunks ever cross that.
local POSTS_A_CHUNK = 96
local MARKS_A_CHUNK = 96
local MEMBERS_A_CHUNK = 430
-- All chunks are split between this part of the load and the whole of it: a few for each batch, instead of all at once.
local SPLITTING_FROM = 0.75

-- Parts of a metric in a post's record; a part's tag is 4 * metric + part.
local MEMBERS, MORE_CHUNKS, P, N = 0, 1, 2, 3
local COUNT_MAX = 9007199254740991
-- 2024-01-01, in milliseconds since 1970
local SINCE = 1704067200000

local function now_ms()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function whole(number)
  return string.format('%.0f', number)
end

-- Linear hashing (Litwin, VLDB 1980): finds the chunk of a hash among `chunks`, which grow one by one.
local function chunks_of(chunks)
  local size = 1
  while size < chunks do size = size * 2 end
  return function(hash)
    local chunk = hash % size
    if chunk >= chunks then chunk = chunk - size / 2 end
    return chunk
  end
end

-- The chunk that gives half of its entries to a new chunk `number`.
local function source_of(number)
  local size = 1
  while size <= number do size = size * 2 end
  return number - size / 2
end

-- How many chunks there are to be, so that none has a mean of more than `a_chunk` entries. They are never joined again.
local function chunks_for(entries, a_chunk, least)
  local size = 1
  while entries > a_chunk * size do size = size * 2 end
  local load = entries / (a_chunk * size)
  local split = math.ceil(size * math.max(0, (load - SPLITTING_FROM) / (1 - SPLITTING_FROM)))
  return math.max(least, size + split)
end

local function hash_of_post(post)
  return tonumber(string.sub(redis.sha1hex(post), 1, 8), 16)
end

-- Keys of actors and sessions are 64-bit hashes in decimal: their last digits are as good as any.
local function hash_of_key(key)
  return tonumber(string.sub(key, -9)) % 1000000000
end

local function posts_key(chunk)
  return bucket .. ':p' .. chunk
end

local function marks_key(generation, chunk)
  return bucket .. ':m' .. generation .. ':' .. chunk
end

local function members_key(metric, post, chunk)
  return bucket .. ':a' .. metric .. ':' .. chunk .. ':' .. post
end

local function channel_of(post)
  return bucket .. ':c:' .. post
end

-- Record of a post: 5 bytes of milliseconds since 2024 (they last until 2058), then msgpack integers: version, and a tag and a value for each
-- part that is not 0.
local function decode(record)
  local parts = {}
  if not record then return { v = 0, at = 0, parts = parts } end
  local flat = { cmsgpack.unpack(string.sub(record, 6)) }
  for i = 2, #flat, 2 do parts[flat[i]] = flat[i + 1] end
  return { v = flat[1], at = SINCE + struct.unpack('>I5', record), parts = parts }
end

local function encode(post)
  local flat, last = { post.v }, 1
  for tag, value in pairs(post.parts) do
    if value ~= 0 then
      flat[last + 1], flat[last + 2] = tag, value
      last = last + 2
    end
  end
  return struct.pack('>I5', math.max(post.at - SINCE, 0)) .. cmsgpack.pack(unpack(flat))
end

local function part(post, metric, which)
  return post.parts[4 * metric + which] or 0
end

local function plain(post, metric)
  return part(post, metric, P) - part(post, metric, N)
end

local function total(post, metric)
  local parts, tag = post.parts, 4 * metric
  local sum = (parts[tag + MEMBERS] or 0) + (parts[tag + P] or 0) - (parts[tag + N] or 0)
  if sum < 0 then return 0 end
  if sum > COUNT_MAX then return COUNT_MAX end
  return sum
end

-- As it is answered: ioredis reads an integer digit by digit as n * 10 + code - 48, and so rounds the last below 2^53.
local function answered(number)
  if number > COUNT_MAX - 100 then return whole(number) end
  return number
end

-- A key that is elsewhere while its slot moves must not look as if it were not there: an EXISTS of several keys is then
-- refused, and a script that begins with it ends before it has written anything.
-- https://redis.io/docs/latest/commands/cluster-setslot/
local function all_here(keys)
  for first = 1, #keys, 1000 do
    call('EXISTS', bucket, unpack(keys, first, math.min(first + 999, #keys)))
  end
end

-- Collects values by key, in the order in which the keys come first.
local function groups()
  local keys, values = {}, {}
  local function add(key, value)
    local group = values[key]
    if not group then
      group = {}
      values[key] = group
      keys[#keys + 1] = key
    end
    group[#group + 1] = value
  end
  return keys, values, add
end

-- Calls `take(value, reply)` with the reply to each value of each key.
local function ask(command, keys, values, take)
  for _, key in ipairs(keys) do
    local inside = values[key]
    for first = 1, #inside, 1000 do
      local last = math.min(first + 999, #inside)
      local replies = call(command, key, unpack(inside, first, last))
      for i = first, last do take(inside[i], replies[i - first + 1], key) end
    end
  end
end

-- The records of `names`, each once, as a table from name to post.
local function read_posts(names, chunks)
  local keys, values, add = groups()
  local chunk_of = chunks_of(chunks)
  local hashes, posts = {}, {}
  for _, name in ipairs(names) do
    hashes[name] = hash_of_post(name)
    add(posts_key(chunk_of(hashes[name])), name)
  end
  all_here(keys)
  ask('HMGET', keys, values, function(name, record)
    posts[name] = decode(record)
    posts[name].hash = hashes[name]
  end)
  return posts
end
