"""What only a follower does: appends taken in, claims made, snapshots received."""
