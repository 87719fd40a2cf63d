"""One replica: the apply loop, replay, and the snapshots of its state. It knows no consensus and no network."""
