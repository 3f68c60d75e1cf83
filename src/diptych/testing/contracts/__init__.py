"""The contract suites: what every backend must keep, as classes to subclass in your own tests."""
