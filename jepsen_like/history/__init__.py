"""What was asked and answered, and what was broken meanwhile: one format, JSON lines."""
