"""The playground: a small perceptron on points of a plane, trained step by step.

Nothing is stored: a request carries the points, the network and its parameters.
"""
