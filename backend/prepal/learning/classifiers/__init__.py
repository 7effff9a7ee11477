"""What is learnt, and from what belief on: the logistic regression, its prior, its solver, its decisions."""
