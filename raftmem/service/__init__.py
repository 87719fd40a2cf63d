"""What callers see: a write proposed, a read behind its barrier, who waits, who watches. It knows no HTTP."""
