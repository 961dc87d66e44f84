"""Beyond the ball: inputs that move, bend, change their colours, or decay."""
