"""Files of a run, and the protocol that every stage follows.

stage_protocol   recipe -> check -> claim the folder -> run -> closing text
run_folder       paths, lock, config and status of a run folder; atomic writes
manifest         versions, code revision, hardware and input hashes
checkpoints      atomic checkpoints of a training run
row_log          append-only rows of a stage that can resume; metrics; rollouts as parquet
console          live progress on a terminal, one line per step elsewhere
trace            spans of time in a process, for `rlvr profile`
trackers         copies of the metrics for TensorBoard and Weights & Biases
"""
