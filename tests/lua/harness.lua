-- Runs calls of the hook as slurmctld would and prints one JSON line for each: what it returned, the job afterwards,
-- what the user was told. arg[1]: directory of the Lua files; arg[2]: a Lua file that returns the scenario.
local own_path, path = arg[1] .. "/?.lua;" .. package.path, package.path
package.path = own_path
local wire = require("slurm_power_wire")
local scenario = dofile(arg[2])

local told, log
slurm = {
  SUCCESS = 0,
  ERROR = -1,
  ESLURM_ACCESS_DENIED = 2002,
  log_user = function(...) told[#told + 1] = string.format(...) end,
  log_info = function(...) log[#log + 1] = string.format(...) end,
  log_error = function(...) log[#log + 1] = string.format(...) end,
}
for _, name in ipairs(scenario.without or {}) do
  slurm[name] = nil
end

-- As slurmctld's: what is not there reads as nil, and text fields take no nil or table. `broken` fields raise.
local function as_slurm(fields, broken, address)
  return setmetatable({}, {
    __index = fields,
    _job_desc = address,
    __newindex = function(_, name, value)
      assert(type(value) == "string" or type(value) == "number", "bad argument")
      assert(name ~= broken, "broken field")
      fields[name] = value
    end,
  })
end

local now = 0
local submit, modify
if scenario.site then
  package.path, package.loaded.slurm_power_wire = path, nil -- the site has its own
  assert(dofile(scenario.site) == slurm.SUCCESS)
  submit, modify = slurm_job_submit, slurm_job_modify
else
  local power = require("slurm_power").setup(scenario.settings)
  if scenario.clock then
    power.setup({ clock = function() return now end })
  end
  submit, modify = power.submit, power.modify
end

for _, call in ipairs(scenario.calls) do
  told, log, now = {}, {}, call.at or now
  local job = as_slurm(call.job, call.broken, call.address)
  local rc
  if call.rec then
    rc = modify(job, call.rec, {}, call.uid)
  else
    rc = submit(job, {}, call.uid)
  end
  print(wire.encode({ rc = rc, job = call.job, told = table.concat(told, "\n"), log = table.concat(log, "\n") }))
end
