"""What clients do to a group under test, each with what must be true of it afterwards."""
