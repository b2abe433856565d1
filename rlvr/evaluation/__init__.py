"""Evaluation: `rlvr eval` and `rlvr compare`.

eval_stage, compare_stage  the commands       eval_config    their recipe schemas
suites           tasks and rewards, checked   eval_run       the run: generate, score, report
completion_rows  rows.jsonl, resumable        budget         limits the tokens of reasoning
selection        votes and best of n          beam_search    search over steps
scorers          rule, reward model, judge    text_metrics   metrics of one completion
suite_metrics    summary.json                 eval_report    the reports of both commands
presets          model families               paper.yaml     DeepSeek-R1's published numbers
"""
