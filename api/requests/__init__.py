"""From JSON bodies to drafts of commands."""
