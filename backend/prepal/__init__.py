"""Active learning for Label Studio: what answers it and decides what is labelled next."""
