"""The follower's side: it takes appends in, claims what is on its disk, and receives snapshots."""
