"""The read side: one file for each question people ask."""
