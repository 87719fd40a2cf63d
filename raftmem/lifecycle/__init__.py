"""A data folder before consensus runs: opened, joined to a group, recovered without one."""
