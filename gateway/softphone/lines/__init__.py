"""The lines on which a software caller calls: the network side of each carrier that it can play."""
