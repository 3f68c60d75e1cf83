import cancelling
from service import app

__all__ = ["cancelling", "app"]
