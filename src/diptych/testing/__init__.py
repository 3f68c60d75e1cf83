"""What a user's own tests need."""
