"""The numerical tools of learning: distances, clusters, half precision, and how cores are used."""
