-- scripts/lib/dead-letters.lua: keys of the dead letters of a partition.
local function letters_of(key, partition)
  return key .. ':dead:' .. partition
end

-- Their order is that of their offsets.
local function order_of(key, partition)
  return key .. ':dead_order:' .. partition
end

return { letters_of = letters_of, order_of = order_of }
