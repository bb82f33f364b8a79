"""The DAG, its configuration and runners, and the command `raxnet`."""
