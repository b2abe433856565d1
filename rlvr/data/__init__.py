"""Data in and out of the trainer: tasks and prompts for rollouts, samples for training.

tasks/          task sources: public data sets, files, functions; their order in training
rows            rows of a file, a data set or a function
prompts         a task as text and tokens; gold completions
inputs          the checked inputs of a stage: model files, tasks, rewards, template
reasoning_tags  a completion split into reasoning and answer
samples         a completion as a row of training data, the common form of the stages
cleaning/       filters and edits of samples        formats/  samples of other projects
"""
