"""HTTP: bodies in, problems and answers out. With `app.py` the only folder that knows FastAPI."""
