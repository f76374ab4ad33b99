-- ARGV   [3] from
--        [4] the condition: 0 none, 1 its only release is outstanding, 2 its mark is not
--        [5] the number of records to keep
--        [6] the body of the record: id (16), flags (1: all, 2: it has a mark), its slots
--            (their number in 4, 4 each), id and mark as in the hash, its releases (their
--            number in 4; id and generation, 8, each)

local condition, keep, body = ARGV[4], ARGV[5], ARGV[6]
local h = state() or begin()

local flags = byte(body, 17)
local all = flags % 2 == 1
local at = 22 + 4 * unpack('<I4', body, 18)
local invalidated = {sub(body, 22, at - 1)}

local mark, value
if flags >= 2 then
  mark = sub(body, at, at + 15)
  local length = 21 + 4 * unpack('<I4', body, at + 33)
  value = sub(body, at + 16, at + 15 + length)
  at = at + 16 + length
end

local ended = {}
for i = at + 4, #body, 24 do
  local id, generation = sub(body, i, i + 15), sub(body, i + 16, i + 23)
  local was = call('HGET', marks, id)
  if condition == '1' and (not was or sub(was, 1, 8) ~= generation) then
    return reply(h, ARGV[3], 0)
  end
  if was then
    ended[#ended + 1] = id
    if not well_formed(id, was) then
      all = true -- nobody can tell what it marked
    else
      all = all or byte(was, 17) == 1
      invalidated[#invalidated + 1] = sub(was, 22)
    end
  end
end
if mark then
  local there = call('HEXISTS', marks, mark) == 1
  if condition == '2' and there then return reply(h, ARGV[3], 0) end
  if not there and h.marks - #ended >= MAX_MARKS then
    error({err = 'CGMARKS there are ' .. number(h.marks) .. ' marks, more than a log may have'})
  end
end

-- The words come first: should anything fail on the way, some are needlessly high, and
-- what does not fit any more is seen by the next script.
h.pos = h.pos + 1
local word = pack('<I8', h.pos)
for _, slots in ipairs(invalidated) do
  for i = 1, #slots, 4 do
    call('SETRANGE', tab, HEADER + 8 * unpack('<I4', slots, i), word)
  end
end
if all then h.cleared = h.pos end
for _, id in ipairs(ended) do call('HDEL', marks, id) end
if mark then call('HSET', marks, mark, value) end
h.marks = call('HLEN', marks)
local appended = record(h.pos, h.id, body)
h.id = sub(body, 1, 16)
call('SETRANGE', tab, 0, header(h))
call('XADD', log, 'MAXLEN', '~', keep, number(h.pos) .. '-0', 'r', appended)
return reply(h, ARGV[3], 1)
