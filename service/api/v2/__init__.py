"""Open Inference Protocol v2 over REST, with Triton's extensions, for every network in the repository."""
