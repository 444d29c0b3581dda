--- The launch gate: slurmctld runs it (through power_prolog and power_epilog) for each job when its nodes are chosen
-- and again when it ends. Exit status 0 lets the job start, 1 denies it; any fault denies.
--
-- With the daemon away, a job passes that carries its admission record, in the admin comment that users cannot write,
-- on nodes of the zones it was admitted to, with the licences of its watts.

local LICENSE = "pw_"
local FIELD_END = "\31"
local ON_NODES = "CONFIGURING,RUNNING,SUSPENDED,STOPPED,COMPLETING"

local settings = {
  socket = "/run/slurm_power/hook.sock",
  gate_timeout_ms = 5000,
  gate_wait_s = 300,
  squeue = "/usr/bin/squeue",
  slurm_conf = nil,
  licenses = true,
}
local VERDICTS = { allow = true, deny = true, wait = true }

local function readable(path)
  local file = path and io.open(path, "r")
  if file then
    file:close()
  end
  return file ~= nil
end

-- SLURM_POWER_HOOK is for trials by hand: slurmctld starts the gate with variables of its own alone, and nothing that
-- a user can name reaches them without SPANK_ in front.
local function load_settings(here)
  for _, path in ipairs({ os.getenv("SLURM_POWER_HOOK") or "", here .. "slurm_power_hook.lua",
    "/etc/slurm/slurm_power_hook.lua" }) do
    if readable(path) then
      for name, value in pairs(dofile(path)) do
        settings[name] = value
      end
      return
    end
  end
  error("no settings: expected /etc/slurm/slurm_power_hook.lua")
end

-- The SLURM_* variables of this process. Entries end at NUL; a value may hold anything else, such as a newline or,
-- in a variable that a user has named, the look of another variable.
local function slurm_environment()
  local file = assert(io.open("/proc/self/environ", "rb"))
  local text = file:read("*a")
  file:close()
  local env = {}
  for entry in text:gmatch("[^%z]+") do
    local name, value = entry:match("^(SLURM_[%w_]+)=(.*)$")
    if name then
      env[name] = env[name] or value
    end
  end
  return env
end

-- Splits at commas outside brackets.
local function split(list)
  local parts, depth, from = {}, 0, 1
  for i = 1, #list do
    local char = list:sub(i, i)
    if char == "[" then
      depth = depth + 1
    elseif char == "]" then
      depth = depth - 1
    elseif char == "," and depth == 0 then
      parts[#parts + 1] = list:sub(from, i - 1)
      from = i + 1
    end
  end
  parts[#parts + 1] = list:sub(from)
  return parts
end

local function each_number(ranges, act)
  for range in (ranges .. ","):gmatch("(.-),") do
    local first, last = range:match("^(%d+)%-(%d+)$")
    first = first or range:match("^%d+$")
    last = last or first
    assert(first and tonumber(first) <= tonumber(last), "not a hostlist: [" .. ranges .. "]")
    for n = tonumber(first), tonumber(last) do
      act(("%0" .. #first .. "d"):format(n))
    end
  end
end

local function unfold(part, into)
  local before, ranges, after = part:match("^([^%[%]]*)%[([^%[%]]*)%](.*)$")
  if not before then
    assert(part:match("^[^%[%]%s]+$"), "not a hostlist: " .. part)
    into[#into + 1] = part
    return
  end
  each_number(ranges, function(number) unfold(before .. number .. after, into) end)
end

local function expand(hostlist)
  local nodes = {}
  for _, part in ipairs(split(hostlist)) do
    unfold(part, nodes)
  end
  return nodes
end

local function zones_of_nodes(path)
  local zones = {}
  for line in assert(io.lines(path)) do
    local node, zone = line:match("^(%S+)%s+(%S+)$")
    if node then
      zones[node] = zone
    end
  end
  return zones
end

local function quoted(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

-- What slurmctld says of the job, in one of these states; of all components, if it is one of a heterogeneous job, of
-- all tasks for the id of an array. Only fields that users cannot write are asked for, so that no text of theirs can
-- pass for another field.
local function records(job_id, states)
  local format = {}
  for _, field in ipairs({ "JobId", "HetJobId", "licenses", "admin_comment" }) do
    format[#format + 1] = field .. ":0" .. FIELD_END
  end
  local conf = settings.slurm_conf and ("SLURM_CONF=" .. quoted(settings.slurm_conf) .. " ") or ""
  -- a shell, for Lua has no other way to a program's output; the words are quoted, and `states` are our own
  local pipe = assert(io.popen(("%s/usr/bin/timeout 20 %s -h -a -t %s -j %s -O %s 2>/dev/null"):format(
    conf, quoted(settings.squeue), states, quoted(job_id), quoted(table.concat(format, ",")))))
  local text = pipe:read("*a")
  pipe:close()
  local found = {}
  for id, het, licenses, comment in text:gmatch(("([^\31]*)" .. FIELD_END):rep(4)) do
    found[#found + 1] = { id = id:match("%d+"), het = het, licenses = licenses, admin_comment = comment }
  end
  return found
end

-- The admission record as fields, its charges by zone; nil where there is none that can be read whole.
local function admission(admin_comment)
  local segment = (";" .. admin_comment):match("[%s;]power:(id=[^%s;]*)")
  if not segment then
    return nil
  end
  local record = { zones = {}, charges = {} }
  for name, value in segment:gmatch("([%w]+)=([^,]*)") do
    record[name == "zones" and "shares" or name] = value
  end
  for share in ((record.shares or "") .. "+"):gmatch("(.-)%+") do
    local zone, nodes, est = share:match("^([%w_.-]+)/(%d+)/(%d+)/%d+$")
    if zone then
      record.charges[zone] = { nodes = tonumber(nodes), est_w = tonumber(est) }
    elseif share ~= "" then
      return nil
    end
  end
  return record
end

local function license_counts(request)
  local counts = {}
  for part in request:gmatch("[^,;]+") do -- one of several (`a:1|b:1`) counts as none
    local name, count = part:match("^%s*([^:=(@|%s]+)[:=]?(%d*)%s*$")
    if name then
      counts[name] = (counts[name] or 0) + (tonumber(count) or 1)
    end
  end
  return counts
end

-- Whether each node lies where the record says, in no zone more than it was charged for. `n=any`: in one zone the
-- watts are those of the whole job, on however many nodes.
local function nodes_fit(hostlist, record)
  local zone_of, count, seen = zones_of_nodes(settings.socket .. ".nodes"), {}, {}
  for _, node in ipairs(expand(hostlist)) do
    local zone = zone_of[node]
    if record.v == "free" then
      if zone then
        return false, node .. " lies in " .. zone .. ", and the job was admitted without watts"
      end
    elseif not record.charges[zone or ""] then
      return false, node .. " is in none of the zones of the job's admission"
    elseif not seen[node] then
      seen[node] = true
      count[zone] = (count[zone] or 0) + 1
    end
  end
  local first = next(count)
  local whole = record.n == "any" and not (first and next(count, first))
  for zone, nodes in pairs(count) do
    if nodes > record.charges[zone].nodes and not whole then
      return false, "more nodes in " .. zone .. " than the job was admitted for"
    end
  end
  return true
end

local function licenses_fit(request, charges)
  local held = license_counts(request)
  for zone, watts in pairs(charges) do
    if (held[LICENSE .. zone] or 0) < watts then
      return false, "the licence " .. LICENSE .. zone .. " does not cover the admission"
    end
  end
  return true
end

-- A record is for one life of the job: `r` counts the restarts before it. Without this a finished job that its owner
-- requeues would start on its old admission.
local function valid(record, env)
  if not record then
    return false, "the job has no admission record"
  elseif record.v ~= "admit" and record.v ~= "free" then
    return false, "the job was not admitted"
  elseif tonumber(record.r or 0) ~= tonumber(env.SLURM_JOB_RESTART_COUNT or 0) then
    return false, "the job's admission was for an earlier start"
  end
  return true
end

-- Where no licence counts the watts of each task, tasks start one at a time: all pending ones carry the same record,
-- and how many of them it was counted for, Slurm does not tell. Its throttle does not either: a user may raise it while
-- nobody is there to see. Two tasks that ask at the same moment are both turned away, to be tried again.
local function alone(job_id, array_id)
  local seen = false
  for _, row in ipairs(records(array_id, ON_NODES)) do
    if row.id ~= job_id then
      return false, "another task of its array is on nodes, and no licences count their watts"
    end
    seen = true
  end
  return seen, "Slurm does not show what runs of its array"
end

local function judge(env)
  local job_id, het_id = env.SLURM_JOB_ID:match("^%d+$"), (env.SLURM_HET_JOB_ID or ""):match("^%d+$")
  local leader = het_id or assert(job_id, "SLURM_JOB_ID is no number")
  local own, licenses, charges = nil, "", {}
  for _, row in ipairs(records(leader, "all")) do
    if row.id == job_id or (het_id and row.het == het_id) then
      local record = admission(row.admin_comment)
      for zone, charge in pairs(record and record.charges or {}) do
        charges[zone] = (charges[zone] or 0) + charge.est_w
      end
      own = row.id == job_id and record or own
      licenses = row.id == leader and row.licenses or licenses -- the leader carries those of all components
    end
  end
  local ok, problem = valid(own, env)
  if ok then
    ok, problem = nodes_fit(assert(env.SLURM_JOB_NODELIST, "no SLURM_JOB_NODELIST"), own)
  end
  if not ok or own.v == "free" then
    return ok, problem
  elseif settings.licenses then
    return licenses_fit(licenses, charges)
  end
  local array_id = (env.SLURM_ARRAY_JOB_ID or ""):match("^%d+$")
  if array_id then
    return alone(job_id, array_id)
  end
  return true
end

local function allowed(wire, env)
  local give_up = wire.now() + settings.gate_wait_s
  while true do
    local _, answer = wire.ask(settings.socket, { v = 1, op = "prolog", env = env }, settings.gate_timeout_ms / 1000,
      VERDICTS)
    if type(answer) == "string" then
      if wire.only_watching(settings.socket) then
        return true
      end
      return judge(env)
    elseif answer.verdict ~= "wait" then
      return answer.verdict == "allow", answer.message
    end
    local pause = math.max(1, math.min(tonumber(answer.seconds) or 1, 60))
    if wire.now() + pause > give_up then
      return false, "waited long enough"
    end
    wire.sleep(pause)
  end
end

local function main(part)
  local here = arg[0]:match("^(.*/)") or "./"
  package.path = here .. "?.lua;" .. package.path
  load_settings(here)
  local wire, env = require("slurm_power_wire"), slurm_environment()
  if part == "prolog" then
    return allowed(wire, env)
  end
  wire.ask(settings.socket, { v = 1, op = "epilog", env = env }, settings.gate_timeout_ms / 1000, VERDICTS)
  return true
end

local ok, permitted, problem = pcall(main, arg[1])
if not ok then
  permitted, problem = false, permitted
end
if not permitted then
  io.stderr:write("power_gate: job ", tostring(os.getenv("SLURM_JOB_ID")), ": ", tostring(problem or "denied"), "\n")
end
os.exit(permitted and 0 or 1)
