-- Charges one failure. ARGV from 4: what the node knows of the source (blocked_until_s,
-- failed_at_s, …), for a store that knows nothing: one that was emptied forgets no block.
-- Answers: forged or not, seconds until the block ends (0: charged), the instant charged.

local source, forged = read()
if not source then
    source = { 0 }
    for i = 4, #ARGV do
        local known_s = tonumber(ARGV[i])
        if is_instant(known_s) then source[i == 4 and 1 or #source + 1] = known_s end
    end
end
if source[1] > now_s then
    if forged == 1 or #ARGV > 4 then write(source) end
    return { forged, source[1] - now_s, now_s }
end
local kept = { 0 }
if source[1] == 0 then
    for i = 2, #source do
        if source[i] > now_s - window_s then kept[#kept + 1] = source[i] end
    end
end
kept[#kept + 1] = now_s
if #kept - 1 >= threshold then kept[1] = now_s + duration_s end
write(kept)
return { forged, 0, now_s }
