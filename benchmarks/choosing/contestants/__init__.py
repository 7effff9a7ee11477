"""Who is compared: every strategy, ours and the peers', behind one method."""
