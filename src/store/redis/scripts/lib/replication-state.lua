-- The bucket's dealings with other regions: the meaning is that of replication-state.ts and change-feed.ts. Where there are none, `region` is
-- negative, and nothing of this is read or written.

-- Number of the own region; as many as there are at most; counter within a millisecond: see hybrid-clock.ts.
local region, REGIONS, COUNTER = -1, 256, 32
-- Marks of posts that are kept: see change-feed.ts.
local FEED_MAX = 4096
-- All are stamps but `filling`, 0 or 1, and `told_by`, names with a comma between them. What has been dropped of the feed; and
-- up to where no registers are needed, the `floor` of replication-state.ts.
local clock, born, found, sure, settled, confirmed, dropped, told_at, filling, told_by
-- Epochs and nonces of the lives that the present one goes on from, with all they did; and how many of them are kept.
local goes_on, GOES_ON_MAX = {}, 4
-- How many words the logs of lib/toggle-log.lua were ever given, and how many of these are gone.
local given_written, given_removed, heard_written, heard_removed
-- Whether something else is to be written than the clock and `given_written`; and whether of the other numbers of words.
local regional_changed, words_changed

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
-- @param state                field s: what the posts that it has have counted so far has no stamps
local function take_regions(clock_known, packed, state)
  regional_changed, packed_state = not packed, packed
  if not packed then
    clock = state_of(state) > 0 and stamp_of(select(2, given_to_new_life())) or 0
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
  saw(stamp_of(select(2, given_to_new_life())))
  born = clock
end

-- The clock always: so a wait for replicas that comes after this waits for what was written before it, too.
local function write_regions()
  if regional_changed then
    local state = pack(born, found, sure, settled, confirmed, dropped, told_at, filling, told_by, unpack(goes_on))
    call('HSET', bucket, 'c', clock, 'w', given_written, 'x', state)
  else
    call('HSET', bucket, 'c', clock, 'w', given_written)
  end
  if words_changed then call('HSET', bucket, 'u', given_removed, 'h', heard_written, 'd', heard_removed) end
end

-- Reads the bucket's life and its clock. @return its state, as `state_of` unpacks it, and up to two more fields that are asked for
local function open_clock(...)
  local meta = call('HMGET', bucket, 'e', 'o', 'r', 's', 'c', 'x', 'w', 'u', 'h', 'd', ...)
  take_life(meta[1], meta[2], meta[3])
  if region >= 0 then take_regions(meta[5], meta[6], meta[4]) end
  given_written, given_removed, heard_written, heard_removed =
    tonumber(meta[7] or 0), tonumber(meta[8] or 0), tonumber(meta[9] or 0), tonumber(meta[10] or 0)
  words_changed = false
  return meta[4], meta[11], meta[12]
end

-- The same, and its dealings with others.
local function open_bucket(...)
  local state, one, another = open_clock(...)
  if region >= 0 then unpack_state() end
  return state, one, another
end

-- Marks of the feed besides the log of words given here: posts that were counted on, and toggles that are to be told again.
local function news_key()
  return bucket .. ':n'
end

-- Redis prints a number again for each command that names it, so those that many marks have are texts.
local function text_of(stamp)
  return string.format('%.0f', stamp)
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
  dropped = math.max(dropped, tonumber(call('ZRANGE', news_key(), excess - 1, excess - 1, 'WITHSCORES')[2]))
  regional_changed = true
  call('ZREMRANGEBYRANK', news_key(), 0, excess - 1)
end
