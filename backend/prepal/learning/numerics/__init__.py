"""What learning is made of: distances, clusters, number formats, cores."""
