"""Mathematical answers: extract them from completions and compare them with the gold.

    math_accuracy      the reward `accuracy`
    extract            the answer that a completion states
    equality           comparison without a parser, or a pair of formulas for one
      forms            an answer as name, value and unit, with the following
        notation         one notation for LaTeX and Unicode
        text_answers     words, phrases and sentences
        plain_numbers    exact values of numbers in digits or words
        named_values     "x = 3", points and solutions of systems
        special_forms    bases, remainders, times, numbers of choices
        units            units after a value;  unit_names: canonical names and sizes
    formula_compare    comparison of two formulas in a worker, with the following
      shapes           lists, tuples, sets, intervals and matrices (no sympy)
      real_sets        sets of real numbers
      formulas         parsing with Math-Verify, and values

Only formula_compare, real_sets and formulas import sympy and math_verify, and only in workers.
"""
