-- Sliding windows, decided as crate::rate decides them: a hit is counted in every window of a
-- request, or in none where one of them is full. One step, because a script runs alone.
--
-- KEYS: one a window. ARGV: limit and length in ms of each.
-- Answers: forged windows, ms until the hit would be admitted (0: it was), and for each window
-- how many are left and the ms until more are.
-- `now_ms` stands in the line before this text.

local SLOTS = 60
local BYTES_MAX = 1024

-- {newest_ms, hits, newest_ms, hits, …}, oldest first; nil where it is nothing we wrote.
local function read(key, period_ms)
    local length = redis.pcall('STRLEN', key)
    if length == 0 then return {} end
    if type(length) ~= 'number' or length > BYTES_MAX then return nil end
    local ours, slots = pcall(cmsgpack.unpack, redis.call('GET', key))
    if not ours or type(slots) ~= 'table' or #slots == 0 or #slots > 2 * (SLOTS + 1) then return nil end
    local before_ms = 0
    for i = 1, #slots, 2 do
        local newest_ms, hits = slots[i], slots[i + 1]
        if type(newest_ms) ~= 'number' or newest_ms % 1 ~= 0 or newest_ms <= before_ms then return nil end
        if type(hits) ~= 'number' or hits % 1 ~= 0 or hits < 1 or hits > 4294967295 then return nil end
        before_ms = newest_ms
    end
    if before_ms > now_ms + period_ms then return nil end
    return slots
end

-- What of it lies within the period, and that window's own now: its clock never goes back.
local function advance(slots, period_ms)
    local own_ms = math.max(now_ms, slots[#slots - 1] or now_ms)
    local kept, total = {}, 0
    for i = 1, #slots, 2 do
        if slots[i] + period_ms > own_ms then
            kept[#kept + 1] = slots[i]
            kept[#kept + 1] = slots[i + 1]
            total = total + slots[i + 1]
        end
    end
    return { slots = kept, total = total, own_ms = own_ms, period_ms = period_ms }
end

-- How long until there is room for one more; 0 where there is.
local function wait_ms(window, limit)
    if window.total < limit then return 0 end
    local excess = window.total - limit + 1
    for i = 1, #window.slots, 2 do
        if window.slots[i + 1] >= excess then
            return window.slots[i] + window.period_ms - window.own_ms
        end
        excess = excess - window.slots[i + 1]
    end
    -- A quota of nothing: asking again never helps.
    return window.period_ms
end

local function count(window)
    local slots, own_ms = window.slots, window.own_ms
    local slot_ms = math.ceil(window.period_ms / SLOTS)
    local last = #slots - 1
    if last > 0 and math.floor(slots[last] / slot_ms) == math.floor(own_ms / slot_ms) then
        slots[last] = own_ms
        slots[last + 1] = slots[last + 1] + 1
    else
        slots[#slots + 1] = own_ms
        slots[#slots + 1] = 1
    end
    window.total = window.total + 1
end

local windows, forged, retry_ms = {}, 0, 0
for i, key in ipairs(KEYS) do
    local limit, period_ms = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local slots = read(key, period_ms)
    if not slots then
        forged = forged + 1
        slots = {}
    end
    local window = advance(slots, period_ms)
    window.limit = limit
    retry_ms = math.max(retry_ms, wait_ms(window, limit))
    windows[i] = window
end

local answer = { forged, retry_ms }
for i, key in ipairs(KEYS) do
    local window = windows[i]
    if retry_ms == 0 then
        count(window)
        -- Gone when its newest hit is forgotten; at most two periods after a clock went back.
        redis.call('SET', key, cmsgpack.pack(window.slots), 'PX', window.own_ms - now_ms + window.period_ms)
    end
    local reset_ms = window.slots[1] and window.slots[1] + window.period_ms - window.own_ms or 1
    answer[#answer + 1] = math.max(0, window.limit - window.total)
    answer[#answer + 1] = reset_ms
end
return answer
