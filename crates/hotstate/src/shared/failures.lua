-- What the two scripts on failures by source share; decided as crate::block decides them.
--
-- KEYS[1]: the source. ARGV: window and length of a block in seconds, failures that block.
-- `now_ms` stands in the line before this text.

local now_s = math.floor(now_ms / 1000)
local window_s, duration_s, threshold = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local kept_s = math.max(window_s, duration_s)

local function is_instant(value)
    return type(value) == 'number' and value % 1 == 0 and value >= 0 and value <= now_s + kept_s
end

-- {blocked_until_s, failed_at_s, …}, the oldest first. Second: whether it was nothing we wrote.
local function read()
    local length = redis.pcall('STRLEN', KEYS[1])
    if length == 0 then return nil, 0 end
    if type(length) ~= 'number' or length > 64 + 9 * math.max(threshold, 1000) then return nil, 1 end
    local ours, source = pcall(cmsgpack.unpack, redis.call('GET', KEYS[1]))
    if not ours or type(source) ~= 'table' or #source == 0 then return nil, 1 end
    for i = 1, #source do
        if not is_instant(source[i]) then return nil, 1 end
    end
    return source, 0
end

local function write(source)
    redis.call('SET', KEYS[1], cmsgpack.pack(source), 'EX', kept_s)
end
