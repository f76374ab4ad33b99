-- How all scripts call commands.

-- fail raises the error of a command, a table or, as pcall has it, a string. A command that
-- is refused is named first: Redis 7.0 does not name it, and others have no code for that.
local function fail(r, command)
  local text = type(r) == 'table' and r.err or r
  local why, found = string.gsub(text, '^.*ACL failure in script: ', '')
  if found > 0 or string.find(text, 'user executing the script', 1, true) then
    error({err = 'NOPERM ' .. command .. ': ' .. string.gsub(why, '^%u+ ', '')})
  end
  error({err = text})
end

local function call(command, ...)
  local r = redis.pcall(command, ...)
  if type(r) == 'table' and r.err then fail(r, command) end
  return r
end

-- soft calls a command; nil if a key is of another type, which is not an error but
-- somebody else's doing.
local function soft(command, ...)
  local r = redis.pcall(command, ...)
  if type(r) == 'table' and r.err then
    if string.find(r.err, 'WRONGTYPE', 1, true) then return nil end
    fail(r, command)
  end
  return r
end

