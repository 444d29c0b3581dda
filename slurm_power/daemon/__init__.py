"""slurm-powerd: the composition root. Here, and only here, service and adapters meet.

    start and end          main  __main__  logs  journal  mode  pruning
    the loop               rounds  reading  writing  breath  turns  retrying
    sockets                hook  control  asked  overriding  checkpoints  usage_verbs  reserving
    reservations           reservations
    who gives way          preemptions
    what is measured       telemetry  sources  naming  sensors  signals  reflexes  derating
    usage, metrics         metering  exporting
    reconciliation         reconciling  alone
"""
