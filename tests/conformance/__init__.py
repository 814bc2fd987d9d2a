"""R4 clause by clause, as a client sees it, on both databases."""
