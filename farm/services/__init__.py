"""One use case a file; they know the ports, never what stands behind them."""
