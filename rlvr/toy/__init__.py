"""The toy world: tasks, text, tokenizer and models made from a seed, small enough for a CPU.

    problems       chains of sums and products        corpus          text and worked examples
    programs       small functions to write           worked          rows of the other families
    toy_requests   short requests for kindness        refining        readable cold-start rows
    task_source    all three as task sources          toy_model       tokenizer and model

    problems --> corpus --> toy_model, trained on the corpus --> GRPO on problems

A hash of the task itself decides whether it is held out, before any text is written, so no
document, worked example or training task contains a held-out one.
"""
