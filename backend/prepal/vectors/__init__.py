"""The vector cache: every text once for each encoder, whichever projects have it."""
