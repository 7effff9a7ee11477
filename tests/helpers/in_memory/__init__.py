"""Projects of a Label Studio in memory, with what reads or publishes them."""
