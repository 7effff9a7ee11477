"""The classifiers, a logistic regression and a network: what they believe before any label, learn, and decide."""
