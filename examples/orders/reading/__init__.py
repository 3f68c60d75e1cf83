"""The read side: tables of what happened, and the questions they answer."""
