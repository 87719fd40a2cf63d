"""One module for the routes of each noun, and the table of all."""
