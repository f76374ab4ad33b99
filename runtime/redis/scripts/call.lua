-- How all scripts call commands.

-- fail raises the error of a command, a table or, as pcall has it, a string. Redis does
-- not name a command that is refused.
local function fail(r, command)
  local text = type(r) == 'table' and r.err or r
  if string.find(text, 'user executing the script', 1, true) then
    error({err = 'NOPERM ' .. command .. ': ' .. string.gsub(text, '^%u+ ', '')})
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

