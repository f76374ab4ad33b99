-- What all scripts of the log begin with. Before it stand the shebang line, call.lua and
-- the constants, such as MAX_SLOTS, that script.go takes from record.go.
--
-- KEYS   the log (a stream), the table (a string), the marks (a hash)
-- ARGV   [1] the epoch that begins if one has to, 8 bytes; '' in a script that begins none
--        [2] the id of its first record, 16 bytes
--        [3] what else the script takes
--
-- Numbers are little-endian. The table is a header and a word of 8 bytes for each slot:
--
--   0 'cachegen'  8 format (4)  12 slots (4)  16 epoch (8)  24 position (8)
--  32 id of the record there (16)  48 position of the last record that cleared all (8)
--  56 number of marks (4)  60 of the slots of all marks (4)  64 server (80)

local log, tab, marks = KEYS[1], KEYS[2], KEYS[3]
local pack, unpack = struct.pack, struct.unpack
local sub, byte = string.sub, string.byte

local MAGIC = 'cachegen'

-- field returns what stands behind a name of INFO, of that length, if any.
local function field(info, name, length)
  local _, at = string.find(info, '\n' .. name .. ':', 1, true)
  return at and string.match(sub(info, at + 1, at + length), '^%w+')
end

-- server identifies this server process in its present role. A restart changes the one,
-- a failover the other, also one to a server that has been the primary before.
local function server()
  local info = call('INFO', 'server', 'replication')
  if field(info, 'role', 6) ~= 'master' then
    error({err = 'CGREPLICA the log is not on a primary'})
  end
  local run, replication = field(info, 'run_id', 40), field(info, 'master_replid', 40)
  if not run or not replication or #run + #replication ~= 80 then
    error({err = 'CGSERVER the server does not tell its run_id and master_replid'})
  end
  return run .. replication
end

local function number(pos)
  return string.format('%.0f', pos)
end

-- A record in the stream: 1, its number (8), the id of the one before (16), and the
-- body: its id (16), flags (1), its slots and more.
local function record(pos, previous, body)
  return '\1' .. pack('<I8', pos) .. previous .. body
end

local NONE = string.rep('\0', 16)

-- entry returns number, id and bytes of the record in an entry of the stream; nil if it
-- is none.
local function entry(e)
  local fields = e[2]
  if not fields or #fields ~= 2 or fields[1] ~= 'r' then return nil end
  local r = fields[2]
  if #r < MIN_RECORD or #r > MAX_RECORD or byte(r) ~= 1 then return nil end
  local pos = unpack('<I8', r, 2)
  if e[1] ~= number(pos) .. '-0' then return nil end
  return pos, sub(r, 26, 41), r
end

local function header(h)
  return MAGIC .. pack('<I4I4', FORMAT, SIZE) .. h.epoch .. pack('<I8', h.pos) .. h.id ..
    pack('<I8I4I4', h.cleared, h.marks, h.marked) .. h.server
end

-- state returns what the header says if log, table and marks fit each other and this
-- server; nil if not, or if there is no position left to append to.
local function state()
  local me = server()
  local s = soft('GETRANGE', tab, 0, HEADER - 1)
  if not s or sub(s, 1, 8) ~= MAGIC or #s < 16 then return nil end
  local format, size = unpack('<I4I4', s, 9)
  if format ~= FORMAT or size ~= SIZE then
    error({err = 'CGFORMAT ' .. number(format) .. ' ' .. number(size)})
  end
  local length = call('STRLEN', tab)
  if length < HEADER or length > HEADER + 8 * SIZE or length % 8 ~= 0 then return nil end
  local h = {epoch = sub(s, 17, 24), pos = unpack('<I8', s, 25), id = sub(s, 33, 48), server = sub(s, 65)}
  h.cleared, h.marks, h.marked = unpack('<I8I4I4', s, 49)
  if h.server ~= me or h.epoch == sub(NONE, 1, 8) or h.pos < 1 or h.pos >= MAX_NUMBER or h.cleared > h.pos
    or h.marks > MAX_MARKS or h.marked > MAX_MARKED or soft('HLEN', marks) ~= h.marks then
    return nil
  end
  local last = soft('XREVRANGE', log, '+', '-', 'COUNT', 1)
  if not last or not last[1] then return nil end
  local pos, id = entry(last[1])
  if pos ~= h.pos or id ~= h.id then return nil end
  return h
end

-- A mark in the hash, under its id: generation (8), lease (8), whether it marks all (1),
-- the number of its slots (4), and they (4 each), distinct and sorted.

-- size returns the number of slots of a mark; nil if it is none by its length, or has no
-- lease that ends. It does not look at the slots: there may be very many in all marks,
-- and while Redis looks at them it does nothing else.
local function size(id, mark)
  if #id ~= 16 or id == NONE or #mark < 21 or byte(mark, 17) > 1 then return nil end
  local n = unpack('<I4', mark, 18)
  if n > MAX_SLOTS or #mark ~= 21 + 4 * n then return nil end
  if sub(mark, 9, 16) == sub(NONE, 1, 8) or byte(mark, 16) > 127 then return nil end -- the lease
  return n
end

-- sorted reports whether the slots of a mark are what they have to be.
local function sorted(mark)
  local before = -1
  for at = 22, #mark, 4 do
    local slot = unpack('<I4', mark, at)
    if slot <= before or slot >= SIZE then return false end
    before = slot
  end
  return true
end

-- everything makes the value of a mark one of everything.
local function everything(mark)
  return sub(mark, 1, 16) .. '\1\0\0\0\0'
end

-- outstanding returns the marks, id and mark in turn, the number of their slots, and the
-- ids of those that are none; nil if there are more than a log may have.
local function outstanding()
  if call('HLEN', marks) > MAX_MARKS then return nil end
  local all, good, marked, bad = call('HGETALL', marks), {}, 0, {}
  for i = 1, #all, 2 do
    local n = size(all[i], all[i + 1])
    if n then
      good[#good + 1], good[#good + 2] = all[i], all[i + 1]
      marked = marked + n
    else
      bad[#bad + 1] = all[i]
    end
  end
  if marked > MAX_MARKED then return nil end
  return good, marked, bad
end

-- begin begins a new epoch, with the marks that are there.
local function begin()
  local h = {epoch = ARGV[1], pos = 1, id = ARGV[2], cleared = 0, marks = 0, marked = 0, server = server()}
  call('DEL', log, tab)
  if not soft('HLEN', marks) then call('DEL', marks) end
  local good, marked, bad = outstanding()
  if good then
    h.marked = marked
    for _, id in ipairs(bad) do call('HDEL', marks, id) end
    for i = 1, #good, 2 do
      if not sorted(good[i + 1]) then
        call('HDEL', marks, good[i])
        h.marked = h.marked - size(good[i], good[i + 1])
      end
    end
  else
    -- No log of ours has so many. Whatever they stand for is marked for a minute.
    call('DEL', marks)
    call('HSET', marks, h.id, everything(pack('<I8I8', 0, 60000000000)))
  end
  h.marks = call('HLEN', marks)
  call('XADD', log, '1-0', 'r', record(1, NONE, h.id .. string.rep('\0', 9)))
  call('SET', tab, header(h))
  return h
end

-- reply tells epoch, head, whether from is known, whether a record was appended, and
-- the records after from. From is epoch (8), number (8) and id (16).
local function reply(h, from, appended)
  local known, records = 0, {}
  local pos, id = unpack('<I8', from, 9), sub(from, 17, 32)
  if sub(from, 1, 8) == h.epoch and pos >= 1 and pos <= h.pos then
    if pos == h.pos then
      known = id == h.id and 1 or 0
    else
      local start, bytes, first = number(pos) .. '-0', 0, true
      repeat
        local some = call('XRANGE', log, start, '+', 'COUNT', 100)
        for _, e in ipairs(some) do
          local at, its, r = entry(e)
          if first then
            if at ~= pos or its ~= id then return {h.epoch, pack('<I8', h.pos), h.id, 0, appended, {}} end
            first, known = false, 1
          elseif not at then
            error({err = 'CGMALFORMED a record is none of ours'})
          else
            records[#records + 1] = r
            bytes = bytes + #r
          end
          start = '(' .. e[1]
        end
      until #some < 100 or #records >= MAX_RECORDS or bytes >= MAX_REPLY
    end
  end
  return {h.epoch, pack('<I8', h.pos), h.id, known, appended, records}
end
