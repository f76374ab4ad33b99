-- ARGV   [3] from
-- It writes nothing. Nevertheless it has no flag that says so: with that, replicas would
-- run it, and what a replica has may be old.

local h = state()
if not h then return false end
return reply(h, ARGV[3], 0)
