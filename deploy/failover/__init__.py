"""`make failover-test`: breaks the cluster in every way while clients book, and measures what they felt."""
