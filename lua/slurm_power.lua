--- slurmctld's side of slurm_power: what job_submit.lua calls. It describes the job to slurm-powerd, does what the
-- answer says, and holds the job where there is no answer. All rules are the daemon's.
--
-- Both functions run under slurmctld's locks, one at a time: they wait for the daemon `timeout_ms` at most, and no
-- longer at all for a while after several time-outs.
local wire = require("slurm_power_wire")

local power = {}

local NO_VAL, NO_VAL16, INFINITE = 4294967294, 65534, 4294967295

-- What admission looks at, by how Slurm says "not given". A user's change of any of these is a question to the daemon.
-- `nice` is among them: with priority/basic a change of it gives a held job a priority of 2 or more, and so lifts the
-- hold. `name` is: the bursts of one user's jobs of one name are summed.
local TEXTS = {
  "account", "admin_comment", "array_inx", "batch_features", "clusters", "comment", "cpus_per_tres", "dependency",
  "exc_nodes", "features", "licenses", "mem_per_tres", "name", "network", "partition", "prefer", "qos", "req_nodes",
  "reservation", "tres_bind", "tres_freq", "tres_per_job", "tres_per_node", "tres_per_socket", "tres_per_task",
}
local NUMBERS = {
  "cpu_freq_gov", "cpu_freq_max", "cpu_freq_min", "max_cpus", "max_nodes", "min_cpus", "min_mem_per_cpu",
  "min_mem_per_node", "min_nodes", "nice", "num_tasks", "priority", "time_limit", "time_min",
}
local SHORT_NUMBERS = {
  "contiguous", "cores_per_socket", "cpus_per_task", "ntasks_per_core", "ntasks_per_gpu", "ntasks_per_node",
  "ntasks_per_socket", "ntasks_per_tres", "pn_min_cpus", "reboot", "requeue", "shared", "sockets_per_node",
  "threads_per_core",
}
local TIMES = { "end_time" }

-- What the daemon is told besides at submit; a user may change it as he likes.
local MORE_AT_SUBMIT = {
  texts = { "acctg_freq", "assoc_qos", "default_account", "default_qos", "extra", "user_name", "wckey", "work_dir" },
  numbers = { "delay_boot", "group_id", "het_job_offset", "site_factor", "user_id", "wait4switch" },
  times = { "begin_time", "bitflags", "immediate" },
}

-- What a change is judged against.
local RECORD = {
  "account", "admin_comment", "array_job_id", "array_task_cnt", "array_task_id", "comment", "direct_set_prio",
  "features", "het_job_id", "het_job_offset", "job_id", "job_state", "licenses", "max_cpus", "max_nodes", "min_cpus",
  "min_nodes", "name", "nodes", "partition", "priority", "qos", "restart_cnt", "resv_name", "start_time",
  "time_limit", "time_min", "total_cpus", "total_nodes", "tres_per_job", "tres_per_node", "tres_per_socket",
  "tres_per_task", "tres_req_str", "user_id", "user_name",
}

-- Where a user can name a licence or a feature.
local NAMING = {
  "licenses", "features", "batch_features", "prefer", "tres_per_job", "tres_per_node", "tres_per_socket",
  "tres_per_task",
}

local SUBMIT_VERDICTS = { admit = true, hold = true, reject = true, pass = true }
local MODIFY_VERDICTS = { allow = true, deny = true }

local settings = {
  socket = "/run/slurm_power/hook.sock",
  timeout_ms = 100,
  slurm_uid = 0,
  breaker = { timeouts = 3, within_s = 10, rest_s = 5 },
  clock = wire.now,
}
-- These live as long as slurmctld's Lua state.
local late = {} -- when the last time-outs were
local taken_out = {} -- the priority that an answer took out of the last release

--- Takes the site's settings (slurm_power_hook.lua); those left out stay as they are. Returns the module.
function power.setup(given)
  for name, value in pairs(given) do
    settings[name] = value
  end
  return power
end

local function say(message)
  for line in message:gmatch("[^\n]+") do
    slurm.log_user("%s", line)
  end
end

-- True for a while after the last of several time-outs in a row. A clock set back does not prolong it.
local function resting(now)
  local breaker = settings.breaker
  local last, first = late[#late], late[#late - breaker.timeouts + 1]
  return first ~= nil and last - first <= breaker.within_s and now >= last and now - last < breaker.rest_s
end

local function ask(request, verdicts)
  if resting(settings.clock()) then
    return nil, "not asked: too many time-outs"
  end
  local in_order, answer, timed_out = wire.ask(settings.socket, request, settings.timeout_ms / 1000, verdicts, true)
  if in_order then
    late = {}
  elseif timed_out then
    late[#late + 1] = settings.clock()
    if #late > settings.breaker.timeouts then
      table.remove(late, 1)
    end
  end
  return in_order, answer
end

local function collect(into, record, names, absent)
  for _, name in ipairs(names) do
    local value = record[name]
    if value ~= nil and value ~= absent then
      into[name] = value
    end
  end
  return into
end

local function given_fields(job_desc)
  local fields = collect({}, job_desc, TEXTS)
  collect(fields, job_desc, NUMBERS, NO_VAL)
  collect(fields, job_desc, SHORT_NUMBERS, NO_VAL16)
  return collect(fields, job_desc, TIMES, 0)
end

-- Only the first component of a heterogeneous batch job carries the script; the others have its environment.
local function is_batch(job_desc)
  if job_desc.script ~= nil then
    return true
  end
  local offset = job_desc.het_job_offset
  return offset ~= nil and offset ~= 0 and offset ~= NO_VAL and job_desc.environment ~= nil
    and job_desc.environment.SLURM_SUBMIT_DIR ~= nil
end

local function describe(job_desc)
  local fields = given_fields(job_desc)
  collect(fields, job_desc, MORE_AT_SUBMIT.texts)
  collect(fields, job_desc, MORE_AT_SUBMIT.numbers, NO_VAL)
  collect(fields, job_desc, MORE_AT_SUBMIT.times, 0)
  fields.cron_job = job_desc.cron_job == true
  fields.batch = is_batch(job_desc)
  return fields
end

local function random_token()
  local source = io.open("/dev/urandom", "rb")
  local bytes = source and source:read(9)
  if source then
    source:close()
  end
  if not bytes then
    return ("lua-%.6f-%s"):format(wire.now(), tostring({}):match("%w+$"))
  end
  return "lua-" .. bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)
end

-- The admin comment without any admission record: nobody but us writes one.
local function without_records(admin_comment)
  return ((";" .. (admin_comment or "")):gsub("([%s;])power:id=[^%s;]*", "%1"):gsub("^[%s;]+", ""):gsub("[%s;]+$", ""))
end

-- Lets the job in held and marked, to be decided when the daemon is back.
local function hold(job_desc, holder)
  if job_desc.cron_job == true then
    say("slurm_power does not answer, and Slurm cannot hold a scrontab job: please submit it again later")
    return slurm.ERROR
  end
  local others = without_records(job_desc.admin_comment)
  local record = "power:id=" .. random_token() .. ",v=hold,hold=" .. holder
  job_desc.priority = 0
  job_desc.admin_comment = (others ~= "" and others .. ";" or "") .. record
  if job_desc.prefer ~= nil then
    job_desc.prefer = "" -- Slurm would follow it past the zone that the job is bound to later
  end
  say("held: slurm_power does not answer; it will be admitted when it does")
  return slurm.SUCCESS
end

-- What the daemon would refuse, and what would undermine the hold if it came in: watts asked for past us, and the
-- nodes of one job handed to another.
local function forbidden(job_desc)
  for _, name in ipairs(NAMING) do
    if (" " .. (job_desc[name] or "")):find("[^%w_.-]pw_") then
      return "names that start with pw_ belong to slurm_power; please leave them out of " .. name
    end
  end
  if (job_desc.dependency or ""):lower():find("expand:", 1, true) then
    return "a dependency of type expand is not possible with slurm_power: its nodes' watts are another job's"
  end
  return nil
end

local function unanswered(job_desc, holder, problem)
  slurm.log_info("slurm_power: no answer at submit: %s", problem)
  if wire.only_watching(settings.socket) then
    return slurm.SUCCESS
  end
  local refusal = forbidden(job_desc)
  if refusal then
    say(refusal)
    return slurm.ERROR
  end
  return hold(job_desc, holder)
end

local function apply(job_desc, in_order)
  for _, pair in ipairs(in_order) do
    local text, number = pair.name:match("^set%.([%a_][%w_]*)$"), pair.name:match("^n%.([%a_][%w_]*)$")
    if text then
      job_desc[text] = pair.value
    elseif number then
      job_desc[number] = assert(tonumber(pair.value), "the answer has no number for " .. number)
    end
  end
end

local function decide_submit(job_desc, submit_uid, holder)
  local request = { v = 1, op = "submit", uid = submit_uid, job = describe(job_desc) }
  local in_order, answer = ask(request, SUBMIT_VERDICTS)
  if not in_order then
    return unanswered(job_desc, holder, answer)
  end
  if answer.verdict == "admit" or answer.verdict == "hold" then
    apply(job_desc, in_order)
    if answer.verdict == "hold" then
      job_desc.priority = 0
    end
  end
  say(answer.message or "")
  return answer.verdict == "reject" and slurm.ERROR or slurm.SUCCESS
end

--- For slurm_job_submit: returns what that shall return. Raises nothing as long as the job can be held at all.
function power.submit(job_desc, _, submit_uid)
  local holder = job_desc.priority == 0 and "both" or "power"
  local ok, result = pcall(decide_submit, job_desc, submit_uid, holder)
  if ok then
    return result
  end
  slurm.log_error("slurm_power: %s", tostring(result))
  return hold(job_desc, holder)
end

local function changes(job_desc)
  local fields = given_fields(job_desc)
  if fields.min_nodes == INFINITE then
    fields.min_nodes = nil -- scontrol asks for the size of the job
  end
  return fields
end

-- What names one call of scontrol for several records of an array or of a heterogeneous job; nil for a single job.
local function call_of(job_desc, job_rec)
  local several = (job_rec.array_job_id or 0) ~= 0 or (job_rec.het_job_id or 0) ~= 0
  local meta = several and getmetatable(job_desc)
  return meta and meta._job_desc
    and table.concat({ tostring(meta._job_desc), job_rec.array_job_id or 0, job_rec.het_job_id or 0 }, " ")
end

-- Slurm asks once for each record, always with the same description: what an answer took out of a release for one
-- record is to be put back for the next.
local function put_back(job_desc, call)
  local age = settings.clock() - (taken_out.at or 0)
  if call and call == taken_out.call and age >= 0 and age < 1 and job_desc.priority == NO_VAL then
    job_desc.priority = taken_out.priority
  end
end

-- The answer to a release may be "it stays held": then no priority is given to Slurm at all.
local function apply_change(job_desc, in_order, answer, call)
  local priority = job_desc.priority
  apply(job_desc, in_order)
  if answer["n.priority"] and job_desc.priority == 0 and priority ~= 0 then
    job_desc.priority = NO_VAL
    taken_out = { call = call, at = settings.clock(), priority = priority }
  end
end

--- For slurm_job_modify: returns what that shall return.
function power.modify(job_desc, job_rec, _, modify_uid)
  if modify_uid == 0 or modify_uid == settings.slurm_uid then
    return slurm.SUCCESS
  end
  local call = call_of(job_desc, job_rec)
  put_back(job_desc, call)
  local changed = changes(job_desc)
  if next(changed) == nil then
    return slurm.SUCCESS
  end
  local record = collect({}, job_rec, RECORD, NO_VAL)
  local request = { v = 1, op = "modify", uid = modify_uid, job = changed, rec = record }
  local in_order, answer = ask(request, MODIFY_VERDICTS)
  local denied = slurm.ESLURM_ACCESS_DENIED or slurm.ERROR
  if not in_order then
    slurm.log_info("slurm_power: no answer at modify: %s", answer)
    if wire.only_watching(settings.socket) then
      return slurm.SUCCESS
    end
    say("slurm_power does not answer, and this change touches what it decided about the job: please try again later")
    return denied
  end
  say(answer.message or "")
  if answer.verdict == "deny" then
    return denied
  end
  apply_change(job_desc, in_order, answer, call)
  return slurm.SUCCESS
end

return power
