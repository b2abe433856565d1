"""What each command does with a recipe: read it, check it, hold the run folder, start the stage."""
