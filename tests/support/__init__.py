"""What several tests share: references for gradients, strategies, naive oracles, cases."""
