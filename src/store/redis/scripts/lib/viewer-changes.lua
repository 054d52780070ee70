-- scripts/lib/viewer-changes.lua: changes the viewers of posts at one gateway, and the number of viewers over all gateways, where a person
-- at several of them counts once. `plan` only reads, `write` only writes, and no key is used after a command that may have emptied it:
-- while its slot moves, a missing key is an error. A call has at most VALUES_AT_ONCE / 2 posts, and as many people.
-- @needs bucket keys
-- @constants PERSON_BYTES KEY_VIEWERS KEY_PEOPLE KEY_GATEWAY_VIEWERS KEY_GATEWAY_PEOPLE
local call, unpack, sub = redis.call, unpack, string.sub

local function new_hash_change(key)
  return { key = key, set = {}, removed = {} }
end

-- Plans a new number of a field; one of 0 is removed.
local function set_number(change, field, number)
  if number > 0 then
    local set = change.set
    set[#set + 1] = field
    set[#set + 1] = number
  else
    change.removed[#change.removed + 1] = field
  end
end

local function write_hash(change)
  if #change.set > 0 then call('HSET', change.key, unpack(change.set)) end
  if #change.removed > 0 then call('HDEL', change.key, unpack(change.removed)) end
end

local viewers, people = new_hash_change(bucket.key .. KEY_VIEWERS), new_hash_change(bucket.key .. KEY_PEOPLE)
-- The gateway's viewers that count by their number, the key of its people, and those of them who came or left.
local others, people_key, came, left
-- Posts whose viewers over all gateways change, and by how many.
local changed, differences = {}, {}
-- Numbers of viewers of the changed posts.
local live = {}

local function add(post, difference)
  if not differences[post] then
    changed[#changed + 1], differences[post] = post, 0
  end
  differences[post] = differences[post] + difference
end

-- @return posts that the gateway has viewers of, and had not; and the other way round
local function plan_others(names, numbers)
  if #names == 0 then return 0, 0 end
  local found, new_count, removed_count = call('HMGET', others.key, unpack(names)), 0, 0
  for i, name in ipairs(names) do
    local before, now = tonumber(found[i] or 0), numbers[i]
    if now ~= before then
      set_number(others, name, now)
      add(name, now - before)
      if before == 0 then new_count = new_count + 1 end
      if now == 0 then removed_count = removed_count + 1 end
    end
  end
  return new_count, removed_count
end

-- Plans that the gateway has these people, or has them no more. @return those that change
local function plan_people(list, difference)
  local selected = {}
  if #list == 0 then return selected end
  local are_there = call('SMISMEMBER', keys.track_key(people_key), unpack(list))
  for i, person in ipairs(list) do
    if are_there[i] == (difference > 0 and 0 or 1) then selected[#selected + 1] = person end
  end
  if #selected == 0 then return selected end
  local gateway_counts = call('HMGET', keys.track_key(people.key), unpack(selected))
  for i, person in ipairs(selected) do
    local before = tonumber(gateway_counts[i] or (difference > 0 and 0 or 1))
    set_number(people, person, before + difference)
    if before == 0 or before + difference == 0 then add(sub(person, PERSON_BYTES + 1), difference) end
  end
  return selected
end

-- Reads the viewers over all gateways, and leaves in `changed` only posts whose number changes.
local function plan_totals()
  local count = 0
  for _, post in ipairs(changed) do
    if differences[post] ~= 0 then
      count = count + 1
      changed[count] = post
    end
  end
  for i = count + 1, #changed do changed[i] = nil end
  if count == 0 then return end
  local found = call('HMGET', viewers.key, unpack(changed))
  for i, post in ipairs(changed) do
    live[i] = math.max(0, tonumber(found[i] or 0) + differences[post])
    set_number(viewers, post, live[i])
  end
end

-- People are given as the bytes of their key, and then the post.
-- @param names, numbers  posts, and how many viewers of each count by their number
-- @param coming, leaving  people who are at the gateway now, and who are not; none is in both
-- @return how many posts and people the gateway has, and how many it will have
local function plan(gateway, names, numbers, coming, leaving)
  others = new_hash_change(bucket.key .. KEY_GATEWAY_VIEWERS .. gateway)
  people_key = bucket.key .. KEY_GATEWAY_PEOPLE .. gateway
  local before = { posts = call('HLEN', others.key), people = call('SCARD', people_key) }
  local new_count, removed_count = plan_others(names, numbers)
  came, left = plan_people(coming, 1), plan_people(leaving, -1)
  plan_totals()
  return before, { posts = before.posts + new_count - removed_count, people = before.people + #came - #left }
end

local function write()
  for _, change in ipairs({ viewers, people, others }) do write_hash(change) end
  if #came > 0 then call('SADD', people_key, unpack(came)) end
  if #left > 0 then call('SREM', people_key, unpack(left)) end
end

return { changed = changed, live = live, plan = plan, write = write }
