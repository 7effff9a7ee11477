"""The final model beside a logistic regression and transformers' own training, on labels chosen by auto."""
