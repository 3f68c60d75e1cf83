"""What is wrong with a projection, each fault with its place.

Rule: a fault says what to write instead.
"""

from diptych.handlers import where


class Faults:
    """What is wrong so far, one sentence each."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def add(self, place: str | type, what: str, instead: str) -> None:
        """Note a fault: where, what, and what to write instead."""
        at = place if isinstance(place, str) else where(place)  # to find a class, Python parses its whole file
        self.sentences.append(f"{at}: {what}; {instead.rstrip('.')}.")
