"""Arrays in, arrays out: sessions, micro-batches, the model repository, predictions. Never HTTP."""
