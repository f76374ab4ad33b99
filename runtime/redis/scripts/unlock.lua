#!lua flags=allow-oom
-- KEYS   the lock
-- ARGV   who has it, as far as the caller knows

local r = redis.pcall('GET', KEYS[1])
if type(r) == 'table' and r.err then
  if string.find(r.err, 'WRONGTYPE', 1, true) then return 0 end -- somebody else's, and no lock
  error(r)
end
if r == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
