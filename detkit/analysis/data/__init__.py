"""Numbers and charts about datasets: contents, label issues, near duplicates, anchors."""
