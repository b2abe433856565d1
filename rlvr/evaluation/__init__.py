"""Evaluation: `rlvr eval` and `rlvr compare`.

eval_stage, compare_stage  the commands       eval_config      their recipe schemas
suites           tasks and rewards, checked   eval_run         the run: generate, score, report
completion_rows  rows.jsonl, resumable        budget           limits the tokens of reasoning
best_of_n        best score, weighted vote    beam_search      search over steps
scorers          rule, reward model, judge    voting           majority vote (cons@k)
suite_metrics    metrics of the rows          text_metrics, worked_steps   of one completion
results          summary.json                 eval_report, compare_report  the reports
presets          model families               paper.yaml       DeepSeek-R1's published numbers
"""
