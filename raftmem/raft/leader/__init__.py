"""What only a leader does: replication, lease rounds, progress of each member, snapshots sent."""
