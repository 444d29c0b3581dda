--- What the hook and the launch gate say to slurm-powerd, and how: one line of JSON out, one line of
-- name=value pairs back (docs/protocol.md).
local socket = require("socket")
local unix = require("socket.unix")

local wire = {}

local MAX_REQUEST = 256 * 1024
local MAX_REPLY = 64 * 1024
local MIN_KEY = 16

-- By path the connection on which the last question was answered, for the next: to connect takes about as long as to
-- ask, and wakes the daemon once more. Children of slurmctld that run as somebody else do not inherit it: Slurm (22.05
-- to 26.05, as its source has it) closes all descriptors before it starts them.
local kept = {}

--- Seconds since 1970, with fractions.
wire.now = socket.gettime
wire.sleep = socket.sleep

-- How many bytes the UTF-8 sequence at `i` has; 0 where there is no valid one (RFC 3629).
local function sequence_length(text, i)
  local lead, second = text:byte(i, i + 1)
  local more, low, high = 0, 0x80, 0xBF
  if lead >= 0xC2 and lead <= 0xDF then
    more = 1
  elseif lead >= 0xE0 and lead <= 0xEF then
    more = 2
    if lead == 0xE0 then low = 0xA0 elseif lead == 0xED then high = 0x9F end
  elseif lead >= 0xF0 and lead <= 0xF4 then
    more = 3
    if lead == 0xF0 then low = 0x90 elseif lead == 0xF4 then high = 0x8F end
  end
  if more == 0 or not second or second < low or second > high then
    return 0
  end
  for k = i + 2, i + more do
    local byte = text:byte(k)
    if not byte or byte < 0x80 or byte > 0xBF then
      return 0
    end
  end
  return more + 1
end

-- The text with each byte that is not UTF-8 replaced by U+FFFD, so that no reader of the line can choke on it.
local function valid_utf8(text)
  if not text:find("[\128-\255]") then
    return text
  end
  local out, i = {}, 1
  while i <= #text do
    local plain = text:match("^[%z\1-\127]+", i)
    local length = plain and #plain or sequence_length(text, i)
    out[#out + 1] = length > 0 and text:sub(i, i + length - 1) or "\239\191\189"
    i = i + math.max(length, 1)
  end
  return table.concat(out)
end

local function escape_byte(char)
  return ("\\u%04x"):format(char:byte())
end

local function encode_string(value)
  if value:find('[%z\1-\31\127-\255"\\]') then
    value = valid_utf8(value):gsub('[%z\1-\31\127"\\]', escape_byte)
  end
  return '"' .. value .. '"'
end

local function encode_number(value)
  if value ~= value or value == math.huge or value == -math.huge then
    return "null"
  elseif value == math.floor(value) and math.abs(value) < 1e15 then
    return ("%.0f"):format(value)
  end
  return (("%.17g"):format(value):gsub(",", "."))
end

--- A value as JSON: strings, numbers, booleans, and tables of them with string keys.
function wire.encode(value)
  local kind = type(value)
  if kind == "string" then
    return encode_string(value)
  elseif kind == "number" then
    return encode_number(value)
  elseif kind == "boolean" then
    return tostring(value)
  elseif kind ~= "table" then
    error("cannot be sent: a " .. kind)
  end
  local members = {}
  for name, member in pairs(value) do
    members[#members + 1] = encode_string(name) .. ":" .. wire.encode(member)
  end
  return "{" .. table.concat(members, ",") .. "}"
end

local function unescape(text)
  if text:gsub("%%%x%x", ""):find("%", 1, true) then
    return nil
  end
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

--- The pairs of a reply in order and by name; nil where any of it cannot be read. A name may come once.
function wire.parse(line)
  local pairs_in_order, by_name = {}, {}
  for part in (line .. "&"):gmatch("(.-)&") do
    local name, raw = part:match("^([%w_.]+)=(.*)$")
    local value = name and unescape(raw)
    if not value or by_name[name] then
      return nil
    end
    by_name[name] = value
    pairs_in_order[#pairs_in_order + 1] = { name = name, value = value }
  end
  return pairs_in_order, by_name
end

--- The first line of a file without the white space at its ends; nil where there is none.
function wire.first_line(path)
  local file = io.open(path, "r")
  if not file then
    return nil
  end
  local line = (file:read(4096) or ""):match("[^\n]*"):match("^%s*(.-)%s*$")
  file:close()
  return line ~= "" and line or nil
end

-- Lets the next call on the socket take what is left until the deadline; false where nothing is left.
-- Both of LuaSocket's limits, and never more than `most`: the clock may be set back meanwhile.
local function arm(sock, deadline, most)
  local left = math.min(deadline - socket.gettime(), most)
  if left <= 0 then
    return false
  end
  sock:settimeout(left, "b")
  sock:settimeout(left, "t")
  return true
end

-- One line, of MAX_REPLY bytes at most: waits for a byte, then takes what has come with it. Tells second whether that
-- was all; of nil, what went wrong.
local function receive_line(sock, deadline, seconds)
  local got = ""
  while #got <= MAX_REPLY do
    if not arm(sock, deadline, seconds) then
      return nil, "timeout"
    end
    local first, problem = sock:receive(1)
    if not first then
      return nil, problem
    end
    sock:settimeout(0, "b")
    sock:settimeout(0, "t")
    local whole, _, part = sock:receive(MAX_REPLY - #got)
    got = got .. first .. (whole or part or "")
    local stop = got:find("\n", 1, true)
    if stop then
      return got:sub(1, stop - 1), stop == #got
    end
  end
  return nil, "the answer is too long"
end

local function exchange(sock, line, deadline, seconds)
  if not arm(sock, deadline, seconds) then
    return nil, "timeout"
  end
  local ok, problem = sock:send(line)
  if not ok then
    return nil, problem
  end
  return receive_line(sock, deadline, seconds)
end

-- Ends a connection also for children that slurmctld has forked meanwhile: the daemon is to see that nobody waits.
local function hang_up(sock)
  pcall(sock.shutdown, sock, "both")
  pcall(sock.close, sock)
end

local function connect(path, deadline, seconds)
  local sock = unix.stream and unix.stream() or unix()
  local ok, problem = nil, "timeout"
  if arm(sock, deadline, seconds) then
    ok, problem = sock:connect(path)
  end
  if not ok then
    hang_up(sock)
    return nil, problem
  end
  return sock
end

local function forget(path)
  if kept[path] then
    hang_up(kept[path])
    kept[path] = nil
  end
end

-- The kept connection, if it is still open and silent: what came unasked answers no question.
local function take_kept(path)
  local sock = kept[path]
  kept[path] = nil
  if not sock then
    return nil
  end
  sock:settimeout(0, "b")
  sock:settimeout(0, "t")
  local _, problem = sock:receive(1)
  if problem == "timeout" then
    return sock
  end
  hang_up(sock)
  return nil
end

local function ask_on(sock, path, line, deadline, seconds)
  local called, answer, rest = pcall(exchange, sock, line, deadline, seconds)
  if called and answer and rest == true then
    kept[path] = sock -- until it has been understood
    return answer
  end
  hang_up(sock)
  if not called then
    return nil, tostring(answer)
  end
  return answer, rest
end

-- A kept connection that the daemon ends instead of answering is no answer: it ends those on which nothing was asked
-- for a while, and all of them when it is started anew.
local function converse(path, line, seconds)
  local deadline = socket.gettime() + seconds
  local last = take_kept(path)
  if last then
    local answer, problem = ask_on(last, path, line, deadline, seconds)
    if answer or problem == "timeout" then
      return answer, problem
    end
  end
  local sock, problem = connect(path, deadline, seconds)
  if not sock then
    return nil, problem
  end
  return ask_on(sock, path, line, deadline, seconds)
end

-- Only the daemon can know the key: whoever else answers on the path has no say.
local function authentic(path, first)
  local key = wire.first_line(path .. ".key")
  return key ~= nil and #key >= MIN_KEY and first ~= nil and first.name == "key" and first.value == key
end

-- What the answer says, by order and by name; or nil and what is wrong with it.
local function understand(path, answer, verdicts)
  local in_order, by_name = wire.parse(answer)
  if not in_order then
    return nil, "the answer cannot be read"
  elseif not authentic(path, in_order[1]) then
    return nil, "the answer does not carry the daemon's key"
  elseif not verdicts[by_name.verdict or ""] then
    return nil, "the answer has no verdict that is known"
  end
  return in_order, by_name
end

--- Asks the daemon on the socket `path` and waits `seconds` at most, all told.
-- `verdicts` is the set of verdicts that make sense here; `keep`: the connection stays open for the next question.
-- Returns the pairs in order and by name; or nil, what went wrong, and whether it was the time that ran out.
function wire.ask(path, request, seconds, verdicts, keep)
  local line = wire.encode(request) .. "\n"
  if #line > MAX_REQUEST then
    return nil, "the request is too long", false
  end
  local called, answer, problem = pcall(converse, path, line, seconds)
  if not called then
    return nil, tostring(answer), false
  elseif not answer then
    return nil, problem, problem == "timeout"
  end
  local in_order, found = understand(path, answer, verdicts)
  if not (in_order and keep) then
    forget(path)
  end
  if not in_order then
    return nil, found, false
  end
  return in_order, found
end

--- Whether the daemon, when last heard of, only watched or advised (`<socket>.mode`): then nothing is enforced
-- in its absence either.
function wire.only_watching(path)
  local mode = wire.first_line(path .. ".mode")
  return mode == "observe" or mode == "advise"
end

return wire
