"""`rlvr distill`: replies of a teacher, scored and filtered, as data for `rlvr sft`.

distill_stage     STAGE; reads and checks the inputs
distill_config    the recipe
distillation      the run: ask, score, filter, export; its logs, from which it resumes
teacher_rows      one question -> a row, asked again until it is complete and verified
row_scores        a row -> a score from 0 to 10, by rule or by a judge
"""
