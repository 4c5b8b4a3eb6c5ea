"""The command `patchbay` with its subcommands."""
