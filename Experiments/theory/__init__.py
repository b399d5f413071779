"""Theory experiments: studies of scores, one file each; `runs` holds what is executed."""
