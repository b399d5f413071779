"""Steps that several experiments share: build the network, find its masks, prune while training, measure."""
