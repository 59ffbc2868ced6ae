-- Gives back the charge of the instant ARGV[4], and with it the block that it brought about.
-- Answers: forged or not.

local source, forged = read()
if not source then return { forged } end
local charged_s = tonumber(ARGV[4])
for i = #source, 2, -1 do
    if source[i] == charged_s then
        table.remove(source, i)
        break
    end
end
if #source - 1 < threshold then source[1] = 0 end
-- Kept even where nothing is left: a node that still counts the failure must not bring it back.
write(source)
return { forged }
