"""The process that learns: rounds that refit, rank and publish, and jobs that read Label Studio beside them."""
