"""From an address to a canonical matrix: downloads, readers of layouts, the simulator."""
