"""The commands of the program, one file each: `add` describes it, `run` does it and answers the exit status."""
