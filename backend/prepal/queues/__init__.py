"""What waits in Redis: jobs for the learner, texts for the encoder; who runs them, and who has to wait."""
