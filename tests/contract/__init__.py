"""What every kernel behind the port `Kernel` does, Linux and the one in memory alike."""
