-- The last words on toggles. Those said lately stand in two logs, given here (r) and heard of others (h): streams, of which an entry
-- has the words of a batch, or of a part of a shipment. Its id is a stamp at or above those of its words, and how many words were
-- ever written to the log up to it. So a batch costs one command, whatever it says; and a last word later than some stamp is
-- found in the tails of the logs from that stamp on, or among what they had no room for (lib/registers.lua).
--
-- An entry is msgpack: how many values come after this; then groups: name of the post, metric, stamp (0: that of the entry), how many
-- actors, their keys in decimal.

local function given_key()
  return bucket .. ':r'
end

local function heard_key()
  return bucket .. ':h'
end

-- What a toggle is called, but for its actor.
local function set_of(name, metric)
  return name .. ' ' .. metric
end

local function write_words(key, stamp, written, list, last)
  call('XADD', key, text_of(stamp) .. '-' .. text_of(written), 'w', pack(last) .. joined(pack, list, last))
end

-- Of an entry's id: its stamp, and how many words were written to the log up to it.
local function id_of(id)
  local stamp, written = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(stamp), tonumber(written)
end

-- Calls `take(set, stamp, list, from, to)` for each group of words; the actors stand in the list.
local function each_group(entries, take)
  for _, entry in ipairs(entries) do
    local list, of_entry = values_of(entry[2][2]), id_of(entry[1])
    local i, last = 2, #list
    while i < last do
      local stamp, to = list[i + 2], i + 3 + list[i + 3]
      take(set_of(list[i], list[i + 1]), stamp == 0 and of_entry or stamp, list, i + 4, to)
      i = to + 1
    end
  end
end
