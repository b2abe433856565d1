"""Child processes that run one job at a time and can be killed."""
