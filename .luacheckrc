std = "lua51"
max_line_length = 120
include_files = { "lua/*.lua" }
files["lua/slurm_power.lua"] = { read_globals = { "slurm" } }
files["lua/job_submit.lua"] = { read_globals = { "slurm" }, globals = { "slurm_job_submit", "slurm_job_modify" } }
