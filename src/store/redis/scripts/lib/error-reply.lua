-- scripts/lib/error-reply.lua: one reply a bucket, where a call is about several.
-- @needs chunk-growth
-- @constants ERROR_PREFIX
-- @param failure  what pcall has caught
-- @return the reply about a bucket that failed, which call-coalescer.ts recognizes
local function error_reply(failure)
  chunk_growth.clear()
  return ERROR_PREFIX .. (type(failure) == 'table' and failure.err or tostring(failure))
end

return { error_reply = error_reply }
