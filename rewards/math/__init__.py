"""Mathematical answers: extract them from completions and compare them with the gold.

    math_accuracy      the reward `accuracy`
    extract            the answer that a completion states
    equality           comparison without a parser, or a pair of formulas for one; uses notation,
                       text_answers, plain_numbers, named_values, special_forms, units (unit_names)
    formula_compare    comparison of two formulas in a worker, by shapes (lists, tuples, sets,
                       intervals, matrices), real_sets and formulas (parsing with Math-Verify)

Only formula_compare, real_sets and formulas import sympy and math_verify, and only in workers.
"""
