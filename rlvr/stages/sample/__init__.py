"""`rlvr sample`: rejection sampling, after DeepSeek-R1 (arXiv 2501.12948, section 2.3.3).

sample_stage    STAGE; checks the inputs, generates, grades, filters, writes
sample_config   the recipe
"""
