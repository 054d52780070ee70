-- What becomes of each operation of the current batch: the meaning is that of apply.ts. It changes what was read of posts, marks
-- and members; nothing is written here.

-- Bits of an outcome
local APPLIED, DUPLICATE, ON = 1, 2, 4
-- Kinds of operations, besides 0 (off) and 1 (on); MARKED is added to that of one with a session.
local COUNT, MARKED = 2, 4

local outcomes = {}

local function count(place, metric, value)
  local post, first_tag = posts[place], 4 * metric
  if value > 0 then
    if total(post, metric) + value > COUNT_MAX then return 0 end
    set_part(post, first_tag + P, part(post, first_tag + P) + value)
  else
    local taken = part(post, first_tag + N) - value
    -- A region takes away only what it has added itself: see rightsOf in pn-counter.ts.
    if part(post, first_tag + P) < taken then return 0 end
    set_part(post, first_tag + N, taken)
  end
  if region >= 0 then counted[place], counts = true, counts + 1 end
  changed[place] = 1
  return APPLIED
end

-- What becomes of an operation that its session has not done before. `on`: whether its member is on, nil for nobody
local function outcome_of(kind, place, metric, value, on)
  if kind == COUNT then return count(place, metric, value) end
  if region >= 0 and value > 0 then toggled[value], toggles = true, toggles + 1 end
  if on == nil or on == kind then return ON * kind end
  values[states + value] = kind
  local tag = 4 * metric + MEMBERS
  set_part(posts[place], tag, part(posts[place], tag) + 2 * kind - 1)
  changed[place] = 1
  return APPLIED + ON * kind
end

local function decide()
  local number, i, last = 0, operations + 1, #values
  while i <= last do
    local kind, place, metric, value = values[i], values[i + 1], values[i + 2], values[i + 3]
    local is_done, on = false, nil
    if kind >= MARKED then
      kind = kind - MARKED
      local mark, seq = marks + values[i + 4], values[i + 5]
      is_done = seq <= values[mark]
      if not is_done then values[mark] = seq end
      i = i + 6
    else
      i = i + 4
    end
    if kind ~= COUNT and value > 0 then on = values[states + value] end
    number = number + 1
    if is_done then
      outcomes[number] = on == 1 and DUPLICATE + ON or DUPLICATE
    else
      outcomes[number] = outcome_of(kind, place, metric, value, on)
    end
  end
  return joined(string.char, outcomes, number)
end
