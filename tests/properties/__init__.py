"""Properties: laws that hold for any log of touchpoints."""
