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
local words = #invalidated[1] / 4 -- to be written

local mark, value, from
if flags >= 2 then
  mark, from = sub(body, at, at + 15), at + 16
  at = from + 21 + 4 * unpack('<I4', body, from + 17)
  value = sub(body, from, at - 1)
end

local ended, number_ended, freed = {}, 0, 0
for i = at + 4, #body, 24 do
  local id, generation = sub(body, i, i + 15), sub(body, i + 16, i + 23)
  local was = not ended[id] and call('HGET', marks, id)
  if condition == '1' and (not was or sub(was, 1, 8) ~= generation) then
    return reply(h, ARGV[3], 0)
  end
  if was then
    ended[id], number_ended = true, number_ended + 1
    local n = size(id, was)
    if not n then
      all = true -- nobody can tell what it marked
    else
      freed = freed + n
      all = all or byte(was, 17) == 1
      local slots = sub(was, 22)
      if slots ~= invalidated[1] then -- mostly the record itself names them, too
        invalidated[#invalidated + 1] = slots
        words = words + n
      end
    end
  end
end
local marked = math.max(0, h.marked - freed)
if mark then
  local was = not ended[mark] and call('HGET', marks, mark)
  if condition == '2' and (was or ended[mark]) then return reply(h, ARGV[3], 0) end
  if not was and h.marks - number_ended >= MAX_MARKS then
    error({err = 'CGMARKS there are ' .. number(h.marks) .. ' marks, as many as a log may have'})
  end
  if was then marked = math.max(0, marked - (size(mark, was) or 0)) end
  if marked + size(mark, value) > MAX_MARKED then
    value = everything(value)
    body = sub(body, 1, from - 1) .. value .. sub(body, at)
  end
  marked = marked + size(mark, value)
end

-- Each word takes its time, in which Redis does nothing else.
if words > MAX_SLOTS then
  all, invalidated = true, {}
end

-- The words come first: should anything fail on the way, some are needlessly high, and
-- what does not fit any more is seen by the next script.
h.pos = h.pos + 1
local word, set = pack('<I8', h.pos), redis.call -- there may be thousands: call takes longer
local ok, failed = pcall(function()
  for _, slots in ipairs(invalidated) do
    for i = 1, #slots, 4 do
      local slot = unpack('<I4', slots, i)
      if slot < SIZE then
        set('SETRANGE', tab, HEADER + 8 * slot, word)
      else
        all = true -- it is of a mark that somebody has been at
      end
    end
  end
end)
if not ok then fail(failed, 'SETRANGE') end
if all then h.cleared = h.pos end
for id in pairs(ended) do call('HDEL', marks, id) end
if mark then call('HSET', marks, mark, value) end
h.marks = call('HLEN', marks)
h.marked = h.marks > 0 and marked or 0
local appended = record(h.pos, h.id, body)
h.id = sub(body, 1, 16)
call('SETRANGE', tab, 0, header(h))
call('XADD', log, 'MAXLEN', '~', keep, number(h.pos) .. '-0', 'r', appended)
return reply(h, ARGV[3], 1)
