#!lua
-- Begins a life of buckets whose epoch or stamps peers would not take for new ones, and says whether it is to be filled from
-- them: the meaning is that of `begin` and `filled` of RegionalStore, and of giveAnew in ship.ts.
--
-- KEYS[i]  tc:{b}    the bucket's hash; derived from it: its registers
-- ARGV[1]  run id of the server
-- ARGV[2]  nonce of the epochs that begin
-- ARGV[3]  number of the own region
-- ARGV[4]  the epoch is to be above this one
-- ARGV[5]  stamps are to be above this one
-- ARGV[6]  1: it is to be filled; 0: as it is; -1: it has been filled
-- Returns  number of registers that were given anew
-- include lib-bucket
-- include lib-life
-- include lib-regions
nonce_new, region = tonumber(ARGV[2]), tonumber(ARGV[3])
local epoch_known, clock_known, fills = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

-- Toggles whose last word the lives before have given at or below `clock_known`, in the order of these.
local function given_before()
  local low, high, list, stamp_in = '(' .. text_of(math.max(born, settled)), ARGV[5], {}, {}
  for _, key in ipairs({ given_key(), heard_key() }) do
    local found_here = call('ZRANGEBYSCORE', touch(key), low, high, 'WITHSCORES')
    for i = 1, #found_here, 2 do
      local mark, stamp = found_here[i], tonumber(found_here[i + 1])
      if not stamp_in[mark] then list[#list + 1] = mark end
      stamp_in[mark] = math.max(stamp, stamp_in[mark] or 0)
    end
  end
  local last, mine = stamps_of(list), {}
  for i, mark in ipairs(list) do
    if last[i] == stamp_in[mark] and gave(last[i]) then mine[#mine + 1] = mark end
  end
  table.sort(mine, function(a, b)
    if stamp_in[a] ~= stamp_in[b] then return stamp_in[a] < stamp_in[b] end
    return a < b
  end)
  return mine
end

local again = 0
for _, key in ipairs(KEYS) do
  bucket, touched = key, {}
  open_bucket()
  local epoch_before, nonce_before = epoch, nonce
  if epoch <= epoch_known then epoch, nonce, new_life = epoch_known + 1, nonce_new, true end
  local list = {}
  if born < clock_known then
    local marks = given_before()
    saw(clock_known)
    born = clock
    for i, mark in ipairs(marks) do list[2 * i - 1], list[2 * i] = text_of(next_stamp(0)), mark end
  end
  if fills > 0 or epoch_before ~= epoch then begin_life(epoch_before, nonce_before) end
  if fills ~= 0 then filling = fills > 0 and 1 or 0 end
  if fills < 0 then found = clock end
  all_here()
  add_marks(given_key(), list, #list)
  regional_changed = true
  write_life()
  write_regions()
  again = again + #list / 2
end
return again
