--- The site's job_submit.lua: goes beside slurm.conf. Put your own rules into `site_submit` and `site_modify`; power
-- is asked after them, about the job as they leave it.
--
-- slurmctld loads this file again when its modification time is newer than that of the one loaded: after a change of
-- this file, of the modules or of the settings, `touch` it. A file that does not load leaves the old one in force
-- (at the start of slurmctld it is fatal).
local HERE = debug.getinfo(1, "S").source:match("^@(.*/)") or "/etc/slurm/"
local MODULES = "/usr/share/slurm_power/lua/"
local SETTINGS = HERE .. "slurm_power_hook.lua"

local function site_submit(job_desc, part_list, submit_uid) -- luacheck: ignore 212
  return slurm.SUCCESS
end

local function site_modify(job_desc, job_rec, part_list, modify_uid) -- luacheck: ignore 212
  return slurm.SUCCESS
end

-- From here on nothing needs to be changed.

package.path = HERE .. "?.lua;" .. MODULES .. "?.lua;" .. package.path

local loaded
local function power()
  loaded = loaded or require("slurm_power").setup(dofile(SETTINGS))
  return loaded
end

local function number(verdict)
  return type(verdict) == "number" and verdict or error("a rule returned no number", 2)
end

local function check_submit(...)
  local verdict = number(site_submit(...))
  return verdict == slurm.SUCCESS and number(power().submit(...)) or verdict
end

local function check_modify(...)
  local verdict = number(site_modify(...))
  return verdict == slurm.SUCCESS and number(power().modify(...)) or verdict
end

-- The last resort, when the module or a rule above is broken: an error that reached Slurm would let the job in, so it
-- is held and marked; where even that fails, and for a scrontab job, which cannot be held, it is refused.
local function hold(job_desc, held_by_user, problem)
  slurm.log_error("job_submit.lua: %s", tostring(problem))
  if job_desc.cron_job == true then
    return slurm.ERROR
  end
  local others = (job_desc.admin_comment or ""):gsub("power:id=[^%s;]*;?", ""):gsub("(.)$", "%1;")
  local token = ("lua-%d-%s"):format(os.time(), tostring({}):match("%w+$"))
  job_desc.priority = 0
  job_desc.admin_comment = others .. "power:id=" .. token .. ",v=hold,hold=" .. (held_by_user and "both" or "power")
  slurm.log_user("%s", "held: slurm_power does not answer; it will be admitted when it does")
  return slurm.SUCCESS
end

function slurm_job_submit(job_desc, part_list, submit_uid)
  local seen, held_by_user = pcall(function() return job_desc.priority == 0 end)
  local ok, result = pcall(check_submit, job_desc, part_list, submit_uid)
  if not ok then
    ok, result = pcall(hold, job_desc, seen and held_by_user, result)
  end
  return ok and result or slurm.ERROR
end

-- A broken rule or module: root alone may change jobs, so that nobody lifts a hold meanwhile.
function slurm_job_modify(job_desc, job_rec, part_list, modify_uid)
  local ok, result = pcall(check_modify, job_desc, job_rec, part_list, modify_uid)
  if ok then
    return result
  end
  pcall(slurm.log_error, "job_submit.lua: %s", tostring(result))
  return modify_uid == 0 and slurm.SUCCESS or slurm.ERROR
end

return slurm.SUCCESS
