"""What it is worth that the encoder follows the labels."""
