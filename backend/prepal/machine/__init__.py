"""Everything on one machine: Redis, Label Studio, backend, learner and embed worker, started, watched and ended."""
