"""`prepal doctor`: looks at every trap of a live installation, names the remedy, and does those that are safe."""
