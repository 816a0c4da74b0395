"""What tesla_trace costs, as ratios against what people use today: `python -m bench`."""
