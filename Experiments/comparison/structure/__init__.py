"""Structure of the masks of compared networks: densities, clusters, kernels, and masks that chance gives."""
