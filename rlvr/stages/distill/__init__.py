"""`rlvr distill`: replies of a teacher, scored and filtered, as data for `rlvr sft`.

distill_stage     STAGE; checks the inputs, asks, scores, filters, exports; resumes from its logs
distill_config    the recipe
teacher_rows      one question -> a row, asked again until it is complete and verified
row_scores        a row -> a score from 0 to 10, by rule or by a judge
"""
