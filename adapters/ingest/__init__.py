"""From bytes to resources: receive and journal, then apply in order, at the one door."""
