-- scripts/lib/current-batch.lua: values of the current batch, as the header of commit-batches-n.lua lists them, and after which of them the
-- things are that it names.
-- @needs msgpack
-- @constants BATCH_HEADER_VALUES
-- The first value is an offset: see lib/msgpack.lua.
local POSTS_AT = 1 + BATCH_HEADER_VALUES

local batch = {
  values = {}, producer_id = '', number = 0, after_in_log = nil, at_ms = 0,
  posts_count = 0, sessions_count = 0, visits_count = 0, longest_window_ms = 0, sets_count = 0,
  -- Whether an operation is the sum of several.
  has_sums = false,
  -- Whether it was committed before, and may be lost.
  is_replay = false,
  -- `seqs_at`: hashes of sessions, which lib/marks.lua replaces by their last seqs. `counted_at`: hashes of visits, which it replaces by the
  -- second in which one counted last. `states_at`: hashes of members, which lib/members.lua replaces by whether they are on. `names_at`:
  -- kinds and actors of the operations, nil if they are not named.
  posts_at = POSTS_AT, sessions_at = 0, seqs_at = 0, visits_at = 0, counted_at = 0, sets_at = 0, members_at = 0, states_at = 0, names_at = nil, operations_at = 0,
}

function batch.parse(packed)
  local values = msgpack.unpack_list(packed)
  local posts_count, sessions_count, visits_count, sets_count, members_count = values[6], values[7], values[8], values[10], values[11]
  local named_count = values[12]
  batch.values, batch.producer_id, batch.number, batch.at_ms = values, values[2], values[3], values[5]
  batch.after_in_log, batch.is_replay = values[4] > 0 and values[4] - 1 or nil, values[4] < 0
  batch.posts_count, batch.sessions_count, batch.sets_count = posts_count, sessions_count, sets_count
  batch.visits_count, batch.longest_window_ms = visits_count, values[9]
  local sessions_at = POSTS_AT + 2 * posts_count
  local visits_at = sessions_at + 2 * sessions_count
  local sets_at = visits_at + 2 * visits_count
  local members_at = sets_at + 3 * sets_count
  local states_at = members_at + members_count
  batch.sessions_at, batch.seqs_at, batch.sets_at = sessions_at, sessions_at + sessions_count, sets_at
  batch.visits_at, batch.counted_at = visits_at, visits_at + visits_count
  local names_at = states_at + members_count
  batch.members_at, batch.states_at, batch.has_sums = members_at, states_at, named_count < 0
  batch.names_at = named_count > 0 and names_at or nil
  batch.operations_at = named_count > 0 and names_at + 2 * named_count or names_at
end

return batch
