-- The bucket's dealings with other regions: the meaning is that of regional.ts and feed.ts. Where there are none, `region` is
-- negative, and nothing of this is read or written.

-- Number of the own region; as many as there are at most; counter within a millisecond: see stamp.ts.
local region, REGIONS, COUNTER = -1, 256, 32
-- Above all stamps.
local FOREVER = 2 ^ 53 - 1
-- Marks of posts that are kept: see feed.ts.
local FEED_MAX = 4096
-- All are stamps but `filling`, 0 or 1, and `told_by`, names with a comma between them. What has been dropped of the feed; and
-- up to where no registers are needed, the `floor` of regional.ts.
local clock, born, found, sure, settled, confirmed, dropped, told_at, filling, told_by
-- Epochs and nonces of the lives that the present one goes on from, with all they did; and how many of them are kept.
local goes_on, GOES_ON_MAX = {}, 4
-- Whether something else than the clock is to be written.
local regional_changed

local function stamp_of(wall_ms)
  return math.max(wall_ms - SINCE, 0) * COUNTER * REGIONS
end

-- A stamp for what is changed now.
local function next_stamp(wall_ms)
  clock = math.max(floor(clock / REGIONS) + 1, (wall_ms - SINCE) * COUNTER) * REGIONS + region
  return clock
end

local function saw(stamp)
  if stamp > clock then clock = stamp end
end

local function gave(stamp)
  return stamp % REGIONS == region
end

-- Another life begins: it is to hear from all regions what the ones before may have told them.
local function begin_life(epoch_before, nonce_before)
  goes_on[#goes_on + 1] = epoch_before
  goes_on[#goes_on + 1] = nonce_before
  if #goes_on > 2 * GOES_ON_MAX then goes_on = { unpack(goes_on, #goes_on - 2 * GOES_ON_MAX + 1) } end
  if told_at > 0 then sure = clock end
  told_by, told_at, regional_changed = '', 0, true
end

-- What field x says besides the clock. Most batches need no more than that: it is unpacked for those who do.
local packed_state

local function unpack_state()
  if not packed_state then return end
  local list = { cmsgpack.unpack(packed_state) }
  born, found, sure, settled, confirmed, dropped, told_at, filling, told_by = unpack(list, 1, 9)
  goes_on, packed_state = { unpack(list, 10) }, nil
end

-- @param clock_known, packed  fields c and x of the bucket's hash
-- @param posts_there          how many posts the bucket has: what they have counted so far has no stamps
local function take_regions(clock_known, packed, posts_there)
  regional_changed, packed_state = not packed, packed
  if not packed then
    clock = posts_there > 0 and stamp_of(now_ms()) or 0
    born, found, sure, settled, confirmed, dropped = clock, clock, clock, clock, clock, clock
    told_at, filling, told_by, goes_on = 0, 0, '', {}
    return
  end
  clock = tonumber(clock_known)
  if not new_life then return end
  unpack_state()
  begin_life(0, 0)
  goes_on = {}
  found = clock
  saw(stamp_of(now_ms()))
  born = clock
end

-- The clock always: so a wait for replicas that comes after this waits for what was written before it, too.
local function write_regions()
  if not regional_changed then
    call('HSET', bucket, 'c', clock)
    return
  end
  local state = pack(born, found, sure, settled, confirmed, dropped, told_at, filling, told_by, unpack(goes_on))
  call('HSET', bucket, 'c', clock, 'x', state)
end

-- Reads the bucket's life and its clock. @return its state, as `state_of` unpacks it
local function open_clock()
  local meta = call('HMGET', bucket, 'e', 'o', 'r', 's', 'c', 'x')
  take_life(meta[1], meta[2], meta[3])
  if region >= 0 then take_regions(meta[5], meta[6], (state_of(meta[4]))) end
  return meta[4]
end

-- The same, and its dealings with others.
local function open_bucket()
  local state = open_clock()
  if region >= 0 then unpack_state() end
  return state
end

-- Marks of the feed, besides those of toggles given here, which are their registers; and registers of toggles, given here and
-- heard of others: sorted sets by stamp. Of what is in both the later is the actor's last word.
local function news_key()
  return bucket .. ':n'
end

local function given_key()
  return bucket .. ':r'
end

local function heard_key()
  return bucket .. ':h'
end

-- Redis prints a number again for each command that names it, so those that many marks have are texts.
local function text_of(stamp)
  return string.format('%.0f', stamp)
end

-- What a toggle is called in them.
local function mark_of(name, metric, actor)
  return name .. ' ' .. metric .. ' ' .. actor
end

-- @param list  stamp as text, mark, the next stamp …; `last`: its length
-- @return how many marks are new
local function add_marks(key, list, last)
  local added = 0
  for first = 1, last, 2 * AT_ONCE do added = added + call('ZADD', key, unpack(list, first, min(first + 2 * AT_ONCE - 1, last))) end
  return added
end

-- @param before  how many marks the feed had
local function add_news(list, last, before)
  if last == 0 then return end
  local excess = before + add_marks(news_key(), list, last) - FEED_MAX
  if excess <= 0 then return end
  unpack_state()
  dropped = tonumber(call('ZRANGE', news_key(), excess - 1, excess - 1, 'WITHSCORES')[2])
  regional_changed = true
  call('ZREMRANGEBYRANK', news_key(), 0, excess - 1)
end

-- Stamps of the last words on some toggles, 0: none is known. @param marks  what they are called
local function stamps_of(marks)
  local stamps = {}
  for first = 1, #marks, AT_ONCE do
    local last = min(#marks, first + AT_ONCE - 1)
    local given = call('ZMSCORE', given_key(), unpack(marks, first, last))
    local heard = call('ZMSCORE', heard_key(), unpack(marks, first, last))
    for i = first, last do
      stamps[i] = math.max(tonumber(given[i - first + 1] or 0), tonumber(heard[i - first + 1] or 0))
    end
  end
  return stamps
end

-- What is here of other regions, the newest life that was heard of, and if it is told all: up to which stamp others come too late with
-- its words, and its number (0 and 0: it is not yet); by their names: field y of the bucket's hash.
local function read_known()
  local packed, known = call('HGET', bucket, 'y'), {}
  if not packed then return known end
  local list = { cmsgpack.unpack(packed) }
  for i = 1, #list, 9 do
    known[list[i]] = {
      epoch = list[i + 1], nonce = list[i + 2], up_to = list[i + 3], confirmed = list[i + 4],
      heard_epoch = list[i + 5], heard_nonce = list[i + 6], told = list[i + 7], number = list[i + 8],
    }
  end
  return known
end

local function known_of(known, name)
  return known[name] or { epoch = 0, nonce = 0, up_to = 0, confirmed = 0, heard_epoch = 0, heard_nonce = 0, told = 0, number = 0 }
end

-- A life of the region was heard of. @return whether that is news
local function hear(known, name, epoch_told, nonce_told)
  local of = known_of(known, name)
  if epoch_told <= of.heard_epoch then return false end
  of.heard_epoch, of.heard_nonce, of.told = epoch_told, nonce_told, 0
  -- It may have forgotten that it has told all, and has heard more since from lives that are over.
  unpack_state()
  local left = {}
  for one in string.gmatch(told_by, '[^,]+') do
    if one ~= name then left[#left + 1] = one end
  end
  told_by, told_at, regional_changed = table.concat(left, ','), 0, true
  known[name] = of
  return true
end

local function write_known(known)
  local list = {}
  for name, of in pairs(known) do
    local last = #list
    list[last + 1], list[last + 2], list[last + 3], list[last + 4], list[last + 5] = name, of.epoch, of.nonce, of.up_to, of.confirmed
    list[last + 6], list[last + 7], list[last + 8], list[last + 9] = of.heard_epoch, of.heard_nonce, of.told, of.number
  end
  call('HSET', bucket, 'y', pack(unpack(list)))
end
