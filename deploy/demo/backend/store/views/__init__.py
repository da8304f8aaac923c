"""What the frontend calls, one file a subject."""
