"""Beyond the ball: inputs that are moved, distorted, recoloured or corrupted."""
