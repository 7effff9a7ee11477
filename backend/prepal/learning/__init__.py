"""Active learning itself: arrays in, arrays out."""
