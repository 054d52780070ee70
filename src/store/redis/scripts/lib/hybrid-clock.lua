-- scripts/lib/hybrid-clock.lua: stamps of the bucket's clock; the meaning is that of hybrid-clock.ts.
-- @needs bucket
-- @constants SINCE_MS STEPS_PER_MS REGION_NUMBERS
local floor, max = math.floor, math.max

-- The stamp before all others of this wall time, of any region.
local function first_stamp_at(wall_ms)
  return max(wall_ms - SINCE_MS, 0) * STEPS_PER_MS * REGION_NUMBERS
end

local function to_wall_ms(stamp)
  return SINCE_MS + floor(stamp / (STEPS_PER_MS * REGION_NUMBERS))
end

-- A stamp for a change that happens now.
local function now(wall_ms)
  local step = max(floor(bucket.clock / REGION_NUMBERS) + 1, (wall_ms - SINCE_MS) * STEPS_PER_MS)
  bucket.clock = step * REGION_NUMBERS + bucket.own_region
  return bucket.clock
end

-- Stamps from now on are later than this one.
local function receive(stamp)
  if stamp > bucket.clock then bucket.clock = stamp end
end

local function read_region_number(stamp)
  return stamp % REGION_NUMBERS
end

local function is_local(stamp)
  return stamp % REGION_NUMBERS == bucket.own_region
end

-- Redis prints a number again for each command that names it. A stamp that many members of a sorted set have is passed as text.
local function stamp_text(stamp)
  return string.format('%.0f', stamp)
end

return {
  first_stamp_at = first_stamp_at, to_wall_ms = to_wall_ms, now = now, receive = receive,
  read_region_number = read_region_number, is_local = is_local, stamp_text = stamp_text,
}
