"""`rlvr clean`: filter, tag and edit samples, optionally with back-translated ones.

clean_config      the recipe
clean_stage       the command: run the passes of rlvr.data.cleaning, write rows and summary
back_translation  new Chinese questions by a teacher
"""
