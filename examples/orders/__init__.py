"""The order service: a worked example of Diptych in vertical slices."""
