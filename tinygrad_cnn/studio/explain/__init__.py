"""What a trained network does with one picture, forward and backward, number by number.

Every explanation watches the network as it computes, and takes from that what it says: it knows ops
and their windows, but no model. Networks are only read, so that many threads can explain one.
"""
