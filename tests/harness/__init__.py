"""What tests need of a machine: real kernels, network namespaces, traffic."""
