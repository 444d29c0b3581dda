--- Settings of slurmctld's side of slurm_power. Read by job_submit.lua when slurmctld loads it (touch job_submit.lua
-- after a change here) and by the launch gate at every launch. Lies beside job_submit.lua; owner root, not writable
-- by others: it is a program.
return {
  socket = "/run/slurm_power/hook.sock", -- `hook.socket` of the site file
  timeout_ms = 100,                      -- how long a submission waits for the answer at most
  slurm_uid = 64030,                     -- SlurmUser's uid; his changes of jobs, and root's, are let through

  -- The launch gate.
  gate_timeout_ms = 5000,                -- how long one question may take
  gate_wait_s = 300,                     -- how long it waits at most when told to wait; then it denies
  squeue = "/usr/bin/squeue",            -- asked for the admission record while the daemon is away
  slurm_conf = nil,                      -- for a slurm.conf in an unusual place
  licenses = true,                       -- false where the site file says `native: none`
}
