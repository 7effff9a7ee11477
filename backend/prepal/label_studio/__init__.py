"""All that is said to Label Studio: connecting, reading tasks and annotations, publishing the ranking as scores."""
