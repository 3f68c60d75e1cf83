"""The FastAPI front."""
