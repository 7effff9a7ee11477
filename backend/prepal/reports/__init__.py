"""What is told of a project, read from Redis alone: status, page, metrics."""
