"""Sub-commands of `raxnet`: HELP, EXAMPLE, add_arguments, run in each."""
