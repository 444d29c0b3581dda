"""The commands: spower and its subcommands."""
