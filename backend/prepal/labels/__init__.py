"""What annotators say: the label config, events, annotations, and the label that they agree on."""
