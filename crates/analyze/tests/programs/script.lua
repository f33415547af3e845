-- Lua at work, always the same: closures, coroutines, strings, tables, errors, a little collection of garbage.
local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
print(fib(18))
local words = {}
for word in ("the quick brown fox jumps over the lazy dog"):gmatch("%a+") do words[#words + 1] = word end
table.sort(words, function(a, b) return #a < #b or #a == #b and a < b end)
print(table.concat(words, " "), #words)
local function numbers(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i * i) end end) end
local sum = 0
for square in numbers(50) do sum = sum + square end
print(sum, 7 // 2, 7 % -3, 2 ^ 10, 1 << 20, "10" + 5, 3.5)
print(pcall(error, { code = 7 }), select("#", 1, nil, 3), pcall(function() local x = nil; return x.y end))
local meta = setmetatable({}, { __index = function(_, k) return k .. "!" end, __call = function(_, a, b) return a * b end })
print(meta.hello, meta(6, 7), tostring(1e15), string.format("%5.2f|%-5s|%q", 3.14159, "ab", "a\nb"))
local parts = {}
for i = 1, 300 do parts[i] = string.rep(string.char(97 + i % 26), i % 7) end
print(#table.concat(parts), ("%d"):rep(3, ","):format(1, 2, 3), ("hello world"):gsub("o", "0"))
for _ = 1, 20 do local t = {} for i = 1, 100 do t[i] = { i } end end
collectgarbage()
goto done
print("not here")
::done::
print(math.max(3, 9, 2), math.tointeger(3.0), utf8.char(228, 8364), load("return 1 + 1")())
