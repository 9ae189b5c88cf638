"""What a report says: its sections, in words and tables."""
