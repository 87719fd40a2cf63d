"""The leader's side: replication, lease rounds, the progress of each member, snapshots sent."""
