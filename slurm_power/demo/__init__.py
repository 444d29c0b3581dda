"""`make demo`: a sandbox, a mixed stream of jobs, and every instant of it held to the budgets."""
