"""Client libraries of other projects, unchanged, against a hub that really runs."""
