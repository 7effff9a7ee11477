"""How good labels and classifier are: audit tasks, accuracy, wrong labels, when to stop."""
