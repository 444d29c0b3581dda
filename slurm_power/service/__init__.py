"""Use cases over the ports: submit, modify, launch, observe, release, explain. No Slurm and no socket here.

    shared by all          desk  book  world  facts  faults  plan  watches
    a submission           submit  descriptions  asking  envelopes  profiles  remarks  deciding  rumours
                           binding  usable
    a launch, a change     launch  modify  placing
    a snapshot of Slurm    observe  pending  running  restore  holds  recount
    the queue              release  queueing  shadow  later
    reservations           terms  reserving  reserved  reservation_rows  mirror  rehoming  shares  rights
    who gives way          preempting  victims  calling_off  candidates  nearest  law  hourly  patience
                           leaving  striking
    ... and is told        preempt_lines  preempt_told
    cuts                   derates  cuts  cuts_ahead  hit  shedding
    what is drawn          draws  drawn  measured  measuring  overdrawn  draw_history  thermometers  breakers  troubles
    ... by jobs            job_measuring  job_draws  above
    ... and moved          moves  balancing
    usage                  metering  costs
    reconciliation         reconcile  finding  drift_jobs
    what is shown          views  wording  measured_views  run_views  usage_views  reservation_views  profile_views
                           holders
    metrics                metrics  metric_forms  floor_metrics  job_metrics  reservation_metrics  outcome_metrics
                           daemon_metrics  outcomes  runs  pulse
"""
