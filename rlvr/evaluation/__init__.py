"""How good a model is, at what cost, and what its texts are like: `rlvr eval`.

suites            what a recipe asks: its tasks and rewards, checked before anything starts
writing           completions as rows, resumable    budget      thoughts that are closed by force
parts             thought and answer                text_metrics, worked_steps, key_points
voting            equal answers, a majority         scorers, picking   best of n, weighted votes
beam              a search over steps               summary     rows to numbers
stage             all of it in order                presets     what is known of model families
paper             DeepSeek-R1's own numbers, marked as such

stage.run_eval(config, folder, inputs) is the stage; its import brings Ray and vLLM's parts with it.
"""
