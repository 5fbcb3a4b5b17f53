"""What the waterfall is drawn with: bars, gauges, attempts, closing facts, and what folds away."""
