-- KEYS   the lock
-- ARGV   who has it, as far as the caller knows

if soft('GET', KEYS[1]) == ARGV[1] then return call('DEL', KEYS[1]) end
return 0
