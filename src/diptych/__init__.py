"""Diptych: commands change one side, queries read the other, events are the hinge."""
