#!lua flags=no-writes,allow-stale
-- ARGV   commands, each as the number of its arguments and they, its name first
-- It returns a list: 1 for a command that the user may call, or of which Redis cannot
-- tell, 0 for one that is refused.
--
-- The commands are complete: of one without its keys Redis 7.0 reads past the end.

local allowed, at = {}, 1
while at <= #ARGV do
  local n = tonumber(ARGV[at])
  local known, yes = pcall(redis.acl_check_cmd, unpack(ARGV, at + 1, at + n))
  allowed[#allowed + 1] = known and not yes and 0 or 1
  at = at + 1 + n
end
return allowed
