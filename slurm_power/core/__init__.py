"""The pure core: no clock, no input or output, no Slurm; standard library only.

    words                  units  quantity  window  immutable  errors  steps  flatjson
    the floor              topology  policy  nodes  constraint  wiring
    what a job asks        envelope  comment_keys  estimate  profile  request  ask  asker
    what is committed      claim  live  ahead  level  timeline  gaps  walk  meter  ledger  kept
    where there is room    rooms  capacity  all_rooms  fit  spread  placement
    the decision           admission  within  diagnosis  shortfall  reasons  queue
    who gives way          preemption  offer  want  victims  cover  trial  excess  giving_way
    reservations           reservation  calendar
    what is measured       gauge  rolling  sketch  thermal  derate
    life and record        lifecycle  record  binding
    usage                  accrual  usage  showback  score  overage  service_level  histogram
"""
