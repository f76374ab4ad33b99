#!lua flags=allow-oom
-- KEYS   the lock
-- ARGV   who has it, as far as the caller knows

local r = redis.pcall('GET', KEYS[1])
if r == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
