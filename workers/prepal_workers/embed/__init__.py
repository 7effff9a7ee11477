"""The embed worker: takes chunks of waiting texts from the queue and puts their vectors into the vector cache."""
