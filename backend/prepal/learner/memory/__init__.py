"""What is kept of each project between rounds: vectors with words beside them, classifier, published order."""
