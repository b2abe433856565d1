"""`rlvr profile`: a trace of one step of a GRPO run, with a track for each actor.

profile_config   the recipe: a GRPO recipe and how much of the run is traced
profile_stage    the command
profile_run      run the loop, write trace and table
actor_traces     tracing in the driver and in all actors
tracks           spans by process, and the traced steps
trace_file       spans as Chrome trace events, for Perfetto
torch_ops        PyTorch's profiler in the learner
time_table       seconds by track and span

The spans are recorded by rlvr.run.trace.
"""
